"""Open Inference Protocol V2 over REST, JSON form: /v2, /v2/health/*, /v2/models/NAME, .../infer.

Source  https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
Rules   errors are {"error": string}, never an object: clients print the value. Not ready is 503, never 400
        (SeldonIO/MLServer#1134). What does not fit is 400. Binary tensors are answered 501: not advertised, not served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .jsontext import parse_json
from .model import TensorSpec
from .refusal import Refused
from .rows import name_of
from .service import JSON, Answer, Call, Service, is_stream, json_answer
from .tensors import decode_tensor, encode_tensor

SERVER_NAME = "algo"
SERVER_VERSION = "1"


def live(service: Service, _call: Call) -> Answer:
    """200 while the process answers at all; the model plays no part."""
    return json_answer({"live": True, "ready": service.board.is_ready})


def ready(service: Service, _call: Call) -> Answer:
    """200 when every worker is loaded and warm and none of them stops, else 503."""
    if service.board.is_ready:
        return json_answer({"live": True, "ready": True})
    return json_answer({"live": True, "ready": False}, status=503, headers=[("Retry-After", "1")])


def model_ready(service: Service, _call: Call) -> Answer:
    """The same for the model."""
    is_ready = service.board.is_ready
    body = {"name": service.settings.model_name, "ready": is_ready}
    return json_answer(body, status=200 if is_ready else 503, headers=[] if is_ready else [("Retry-After", "1")])


def server_metadata(_service: Service, _call: Call) -> Answer:
    """Name, version and extensions, all required by the protocol."""
    return json_answer({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": []})


def model_metadata(service: Service, _call: Call) -> Answer:
    """Inputs and outputs as far as they are known."""
    settings, model = service.settings, service.model
    return json_answer(
        {
            "name": settings.model_name,
            "versions": [settings.version],
            "platform": model.platform,
            "inputs": [_described(spec) for spec in model.inputs],
            "outputs": [_described(spec) for spec in model.outputs],
        }
    )


def infer(service: Service, call: Call) -> Answer:
    """One inference request in JSON."""
    if "HTTP_INFERENCE_HEADER_CONTENT_LENGTH" in call.environ:
        raise Refused(501, "binary tensors are not served yet; send data as JSON")
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON) and not kind.endswith("+json"):
        raise Refused(415, f"{kind} is not taken here; send application/json as the Content-Type")
    body = parse_json(call.read())
    if not isinstance(body, Mapping):
        raise Refused(400, f'expected an object with "inputs", got {name_of(body)}')
    documents = body.get("inputs")
    if not isinstance(documents, list) or not documents:
        raise Refused(400, '"inputs" is not a list of at least one tensor')
    inputs = [decode_tensor(document, f"/inputs/{index}") for index, document in enumerate(documents)]
    names = [tensor.name for tensor in inputs]
    if len(set(names)) != len(names):
        raise Refused(400, f"two inputs have the same name: {', '.join(names)}")
    wanted = _wanted(body.get("outputs"))
    # Encoding belongs to the question: a result that is no tensor is the model's fault, told like its exceptions.
    result = service.ask(call, lambda: service.model.tensors(inputs, wanted), _encoded)
    reply: dict[str, Any] = {
        "model_name": service.settings.model_name,
        "model_version": service.settings.version,
        "outputs": result,
    }
    if "id" in body:
        reply["id"] = body["id"]
    return json_answer(reply)


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _wanted(outputs: Any) -> Sequence[str]:
    if outputs is None:
        return ()
    if not isinstance(outputs, list):
        raise Refused(400, f'"outputs" is not a list but {name_of(outputs)}')
    names = [output.get("name") if isinstance(output, Mapping) else None for output in outputs]
    if any(not isinstance(name, str) for name in names):
        raise Refused(400, 'each of "outputs" is an object with a "name"')
    return [str(name) for name in names]


def _encoded(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [encode_tensor(name, _whole(value)) for name, value in outputs.items()]


def _whole(value: Any) -> Any:
    if is_stream(value):
        raise Refused(501, "this model streams its answer; call /predict")
    return value
