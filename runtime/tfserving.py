"""TensorFlow Serving's and KServe's V1 protocol: /v1/models/NAME and :predict.

Source  https://www.tensorflow.org/tfx/serving/api_rest; https://kserve.github.io/website, V1 protocol
Rules   errors are {"error": string}; a body that does not fit is 400; NaN is read and leaves as null;
        {"b64": ...} stands for bytes anywhere, and bytes leave as the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from .jsontext import parse_json, plain
from .refusal import Refused
from .rows import name_of
from .service import JSON, Answer, Call, Service, is_stream, json_answer


def predict(service: Service, call: Call) -> Answer:
    """{"instances": [...]} to {"predictions": [...]}, {"inputs": ...} to {"outputs": ...}; one of the two."""
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON) and not kind.endswith("+json"):
        raise Refused(415, f"{kind} is not taken here; send application/json as the Content-Type")
    body = parse_json(call.read())
    if not isinstance(body, Mapping):
        raise Refused(400, f'expected an object with "instances" or "inputs", got {name_of(body)}')
    signature = body.get("signature_name", "")
    if not isinstance(signature, str):
        raise Refused(400, f'"signature_name" is not a string but {name_of(signature)}')
    if ("instances" in body) == ("inputs" in body):
        raise Refused(400, 'expected exactly one of "instances" and "inputs"')
    if "instances" in body:
        instances = _bytes_in(body["instances"])
        if not isinstance(instances, list) or not instances:
            raise Refused(400, f'"instances" is not a list of rows but {name_of(instances)}{_emptiness(instances)}')
        result = service.ask(call, lambda: service.model.rows(instances, signature), _bytes_out)
        return json_answer({"predictions": _whole(result)})
    inputs = _bytes_in(body["inputs"])
    result = service.ask(call, lambda: service.model.columns(inputs, signature), _bytes_out)
    return json_answer({"outputs": _whole(result)})


def model_status(service: Service, _call: Call) -> Answer:
    """The union of what TensorFlow Serving's and KServe's clients read."""
    settings, ready = service.settings, service.board.is_ready
    version = {
        "version": settings.version,
        "state": "AVAILABLE" if ready else "LOADING",
        "status": {"error_code": "OK", "error_message": ""},
    }
    body = {"name": settings.model_name, "ready": ready, "model_version_status": [version]}
    return json_answer(body, status=200 if ready else 503)


def metadata(service: Service, _call: Call) -> Answer:
    """The signature as far as it is known."""
    settings, model = service.settings, service.model
    described = {
        side: {
            spec.name: {
                "dtype": f"DT_{spec.datatype}",
                "tensor_shape": {"dim": [{"size": str(size)} for size in spec.shape]},
            }
            for spec in specs
        }
        for side, specs in (("inputs", model.inputs), ("outputs", model.outputs))
    }
    return json_answer(
        {
            "model_spec": {"name": settings.model_name, "signature_name": "", "version": settings.version},
            "metadata": {"signature_def": {"signature_def": {"serving_default": described}}},
        }
    )


def model_list(service: Service, _call: Call) -> Answer:
    """Names of what is served: one."""
    return json_answer({"models": [service.settings.model_name]})


def _whole(result: Any) -> Any:
    if is_stream(result):
        raise Refused(501, "this model streams its answer; call /predict")
    return result


def _emptiness(value: Any) -> str:
    return " without rows" if value == [] else ""


def _bytes_in(value: Any) -> Any:
    """value with every {"b64": text} replaced by its bytes."""
    if isinstance(value, list):
        # A list of numbers is the common and the large case: looked through once, in C, and left alone.
        return value if set(map(type, value)) <= {int, float} else [_bytes_in(item) for item in value]
    if isinstance(value, Mapping):
        if set(value) == {"b64"} and isinstance(value["b64"], str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except binascii.Error as exc:
                raise Refused(400, f'"b64" does not hold base64: {exc}') from exc
        return {key: _bytes_in(item) for key, item in value.items()}
    return value


def _bytes_out(value: Any) -> Any:
    return plain(value, lambda raw: {"b64": base64.b64encode(raw).decode("ascii")})
