"""Validates OCSF events, one a line on standard input, against the published schema of the version that each names.

For each it prints a line: a JSON array of what is wrong. It uses no network.
"""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas, validators = {}, {}


def validator(version, uid, profiles):
    """The validator of a class, with the profiles that the event names."""
    key = (version, uid, profiles)
    if key not in validators:
        if version not in schemas:
            schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        name = schemas[version].lookup_class_name_from_uid(uid)
        validators[key] = Draft202012Validator(schemas[version].get_class_schema(name, list(profiles)))
    return validators[key]


def problems(line):
    try:
        event = json.loads(line)
        metadata = event["metadata"]
        check = validator(metadata["version"], event["class_uid"], tuple(metadata.get("profiles", [])))
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        return [f"not an event: {e!r}"]
    found = [f"{e.json_path}: {e.message[:200]}" for e in check.iter_errors(event)]
    # What JSON Schema cannot say.
    if event.get("type_uid") != event["class_uid"] * 100 + event.get("activity_id", -1):
        found.append("type_uid is not that of the class and the activity")
    if event.get("category_uid") != event["class_uid"] // 1000:
        found.append("category_uid is not that of the class")
    for number, name in (("activity_id", "activity_name"), ("status_id", "status"), ("action_id", "action"), ("disposition_id", "disposition")):
        if event.get(number) == 99 and not event.get(name):
            found.append(f"{number} is Other and {name} does not say which")
    return found


for line in sys.stdin.buffer:
    print(json.dumps(problems(line)), flush=True)
