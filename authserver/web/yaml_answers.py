"""Answers of the registry in YAML, to who would rather have it; refusals too."""

import json

from flask import Blueprint, Response, request

from authserver.web.resource_requests import JSON_TYPES, YAML_TYPES


def speak_yaml(blueprint: Blueprint) -> Blueprint:
    """Let the blueprint answer in YAML where Accept prefers it to JSON; return it."""
    blueprint.after_request(_preferred)
    return blueprint


def _preferred(response: Response) -> Response:
    if response.mimetype not in JSON_TYPES:
        return response
    response.vary.add("Accept")
    # In this order: who takes anything gets JSON.
    wanted = request.accept_mimetypes.best_match([*JSON_TYPES, *YAML_TYPES])
    if wanted in YAML_TYPES:
        from authserver.protocol import strict_yaml  # most servers never write any

        response.set_data(strict_yaml.dumps(json.loads(response.get_data())))
        response.content_type = f"{wanted}; charset=utf-8"
    return response
