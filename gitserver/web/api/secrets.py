"""The secrets of an app, kept out of what the API shows of its logs and failures."""

from __future__ import annotations

import dataclasses

from gitserver.errors import Failure, Json
from gitserver.ledger.records import Build, EnvKind
from gitserver.mask import Mask, make_mask
from gitserver.web.routes import Services

_VERSIONS = 20  # of each scope: an old log may hold a value that was replaced since


def mask_of_app(services: Services, app_id: int) -> Mask:
    """A mask for the values of the app's configurations of today and of the last changes."""
    configs = []
    for scope in EnvKind:
        newest = services.ledger.config(app_id, scope)
        configs.append(newest.values)
        for number in range(max(1, newest.number - _VERSIONS), newest.number):
            older = services.ledger.config_version(app_id, scope, number)
            configs += [older.values] if older is not None else []
    return make_mask(*configs)


def masked(build: Build, mask: Mask) -> Build:
    """The build with a failure that shows no secret: a crashed process may have written one as its last words."""
    failure = build.failure
    if failure is None:
        return build
    clean = Failure(
        code=failure.code,
        fields={name: _masked_json(value, mask) for name, value in failure.fields.items()},
        log=tuple(mask.text(line) for line in failure.log),
    )
    return dataclasses.replace(build, failure=clean)


def _masked_json(value: Json, mask: Mask) -> Json:
    match value:
        case str():
            return mask.text(value)
        case list():
            return [_masked_json(item, mask) for item in value]
        case dict():
            return {name: _masked_json(item, mask) for name, item in value.items()}
        case _:
            return value
