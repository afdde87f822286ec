"""Links between executions, as Temporal has them (``common.v1.Link``) and as Nexus carries them: a URL and a type.

What a Nexus link does not say in the form Temporal gives it is no link of ours: it is left out, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import EventType, ExecutionType
from perdure.api.nexus import v1 as nexus_v1

_TYPE = "temporal.api.common.v1.Link."
WORKFLOW_EVENT = _TYPE + "WorkflowEvent"
WORKFLOW = _TYPE + "Workflow"
NEXUS_OPERATION = _TYPE + "NexusOperation"
ACTIVITY = _TYPE + "Activity"
CALLBACK = _TYPE + "Callback"

#: Type -> the words of its path: /namespaces/<namespace>/<first>/<id>/<run id>[/<last>].
_PATHS = {
    WORKFLOW_EVENT: ("workflows", "history"),
    WORKFLOW: ("workflows", ""),
    NEXUS_OPERATION: ("nexus-operations", "details"),
    ACTIVITY: ("activities", "details"),
}
_EXECUTIONS = {
    "workflows": int(ExecutionType.EXECUTION_TYPE_WORKFLOW),
    "activities": int(ExecutionType.EXECUTION_TYPE_ACTIVITY),
    "nexus-operations": int(ExecutionType.EXECUTION_TYPE_NEXUS_OPERATION),
}
_EVENT_PREFIX = "EVENT_TYPE_"


def to_nexus(link: common_v1.Link) -> nexus_v1.Link | None:
    """The Nexus link for a link of Temporal's; None when there is no form for it."""
    if (event := link.workflow_event) is not None:
        query = ""
        if (ref := event.event_ref) is not None:
            words: list[tuple[str, object]] = [("eventID", ref.event_id)] if ref.event_id else []
            words += [("eventType", _event_word(ref.event_type)), ("referenceType", "EventReference")]
            query = urlencode(words)
        elif (by_request := event.request_id_ref) is not None:
            words = [("referenceType", "RequestIdReference")]
            if by_request.request_id:
                words.append(("requestID", by_request.request_id))
            words.append(("eventType", _event_word(by_request.event_type)))
            query = urlencode(words)
        return _nexus_link(WORKFLOW_EVENT, event.namespace, event.workflow_id, event.run_id, query)
    if (workflow := link.workflow) is not None:
        query = urlencode({"reason": workflow.reason}) if workflow.reason else ""
        return _nexus_link(WORKFLOW, workflow.namespace, workflow.workflow_id, workflow.run_id, query)
    if (operation := link.nexus_operation) is not None:
        return _nexus_link(NEXUS_OPERATION, operation.namespace, operation.operation_id, operation.run_id)
    if (activity := link.activity) is not None:
        return _nexus_link(ACTIVITY, activity.namespace, activity.activity_id, activity.run_id)
    if (callback := link.callback) is not None and callback.execution is not None:
        execution = callback.execution
        for word, kind in _EXECUTIONS.items():
            if execution.type == kind:
                parts = (callback.namespace, word, execution.business_id, execution.run_id)
                path = "/".join(quote(part, safe="") for part in (*parts, "callbacks", callback.request_id))
                query = urlencode([("componentPath", part) for part in callback.component_path])
                return nexus_v1.Link(_url(f"namespaces/{path}", query), CALLBACK)
    return None


def from_nexus(link: nexus_v1.Link) -> common_v1.Link | None:
    """The link of Temporal's that a Nexus link stands for; None when it is another's."""
    url = urlsplit(link.url)
    if url.scheme != "temporal":
        return None
    query = parse_qs(url.query, keep_blank_values=True)
    parts = [unquote(part) for part in url.path.split("/")][1:]
    if len(parts) < 5 or parts[0] != "namespaces":
        return None
    namespace, word, name, run_id = parts[1:5]
    if link.type == CALLBACK:
        if len(parts) != 7 or parts[5] != "callbacks" or word not in _EXECUTIONS:
            return None
        execution = common_v1.Execution(_EXECUTIONS[word], name, run_id)
        path = query.get("componentPath", [])
        return common_v1.Link(callback=common_v1.LinkCallback(namespace, execution, path, parts[6]))
    shape = _PATHS.get(link.type)
    if shape is None or word != shape[0] or parts[5:] != ([shape[1]] if shape[1] else []):
        return None
    if not (namespace and name) or (not run_id and link.type != NEXUS_OPERATION):
        return None
    if link.type == WORKFLOW:
        reason = (query.get("reason") or [""])[0]
        return common_v1.Link(workflow=common_v1.LinkWorkflow(namespace, name, run_id, reason))
    if link.type == NEXUS_OPERATION:
        return common_v1.Link(nexus_operation=common_v1.LinkNexusOperation(namespace, name, run_id))
    if link.type == ACTIVITY:
        return common_v1.Link(activity=common_v1.LinkActivity(namespace, name, run_id))
    return _workflow_event(common_v1.LinkWorkflowEvent(namespace, name, run_id), query)


def _workflow_event(event: common_v1.LinkWorkflowEvent, query: dict[str, list[str]]) -> common_v1.Link | None:
    event_type = _event_type((query.get("eventType") or [""])[0])
    reference = query.get("referenceType")
    if event_type is None:
        return None
    if reference == ["EventReference"]:
        number = (query.get("eventID") or ["0"])[0]
        if not number.isdecimal():
            return None
        event.event_ref = common_v1.LinkWorkflowEventEventReference(int(number), event_type)
    elif reference == ["RequestIdReference"]:
        request_id = (query.get("requestID") or [""])[0]
        event.request_id_ref = common_v1.LinkWorkflowEventRequestIdReference(request_id, event_type)
    else:
        return None
    return common_v1.Link(workflow_event=event)


def all_from_nexus(links: Iterable[nexus_v1.Link]) -> list[common_v1.Link]:
    """The links of Temporal's among Nexus links."""
    found = [from_nexus(link) for link in links]
    return [link for link in found if link is not None]


def all_to_nexus(links: Iterable[common_v1.Link]) -> list[nexus_v1.Link]:
    """Nexus links for those of Temporal's that have a form."""
    found = [to_nexus(link) for link in links]
    return [link for link in found if link is not None]


def _nexus_link(kind: str, namespace: str, name: str, run_id: str, query: str = "") -> nexus_v1.Link:
    first, last = _PATHS[kind]
    path = "/".join(("namespaces", quote(namespace, safe=""), first, quote(name, safe=""), quote(run_id, safe="")))
    return nexus_v1.Link(_url(f"{path}/{last}" if last else path, query), kind)


def _url(path: str, query: str) -> str:
    return f"temporal:///{path}?{query}" if query else f"temporal:///{path}"


def _event_word(event_type: int) -> str:
    """The number of an event type as Temporal writes it in JSON: ``NexusOperationScheduled``."""
    name = EventType(event_type).name.removeprefix(_EVENT_PREFIX)
    return "".join(word.capitalize() for word in name.split("_"))


def _event_type(word: str) -> int | None:
    """The number for ``NexusOperationScheduled``, or for the name with its prefix; None when there is none."""
    name = word if word.startswith(_EVENT_PREFIX) else _EVENT_PREFIX + re.sub(r"(?<!^)([A-Z])", r"_\1", word).upper()
    try:
        return int(EventType[name])
    except KeyError:
        return None
