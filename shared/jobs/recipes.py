"""What a job makes, as a name: jobs of one recipe would do the same work (`sharing.lua`)."""

import hashlib
import json

from shared.engine_version import ENGINE_VERSION
from shared.jobs.pictures import Inputs
from shared.spec import Spec


def recipe_of(spec: Spec, inputs: Inputs) -> str:
    """Names what is made of what, and by which engine: equal for jobs that would do the same work.

    Pictures count by their content once all of them are in, before that by where they come from. Those that
    came inside a request all come from one place, so they count by their content always.
    """
    by_content = inputs.stored
    pictures = [
        [
            pointer,
            picture.weight,
            picture.sha256 if by_content or picture.source == "data:" else picture.source,
        ]
        for pointer, picture in inputs.each()
    ]
    text = f"{ENGINE_VERSION} {spec.model_dump_json()}{json.dumps(pictures)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
