"""What Prefect's server does by itself: it notices runs that fell silent, and tells of runs that need a person.

Both work on the state of flow runs with our tag, so they work for a run that could not
say anything itself any more. A webhook's address is a secret of its block.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import (
    AutomationCore,
    CallWebhook,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    ResourceSpecification,
)
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows import HEARTBEAT_S
from pipelines.errors import ConfigError

LOST = "threadmill: a run that fell silent has crashed"
TELL = "threadmill: tell of runs that need a person"
SILENT_S = 3 * HEARTBEAT_S
_ENDED = frozenset({"Completed", "Incomplete", "Failed", "ExpectationFailed", "TimedOut", "Cancelled", "Crashed"})
_NEEDS_A_PERSON = _ENDED - {"Completed", "Cancelled"}
_PAYLOAD = """\
{"flow_run": {{ flow_run.name|tojson }}, "state": {{ event.payload.validated_state.name|tojson }},
 "message": {{ event.payload.validated_state.message|tojson }}, "url": {{ flow_run|ui_url|tojson }}}"""


def register_automations(*, notify: str | None, silent_s: float = SILENT_S) -> None:
    """Make or renew them; *notify* names the Webhook block to call, None leaves who is told as it is.

    Raises:
        ConfigError: There is no such block.
    """
    with get_client(sync_client=True) as client:
        _renew(client, _lost(silent_s))
        if notify is not None:
            _renew(client, _tell(client, notify))


def _renew(client: SyncPrefectClient, automation: AutomationCore) -> None:
    for known in client.read_automations_by_name(automation.name):
        client.update_automation(known.id, automation)
        return
    client.create_automation(automation)


def _lost(silent_s: float) -> AutomationCore:
    beat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=LOST,
        description=f"No heartbeat for {silent_s:.0f} s: its process was killed, or its machine is gone.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *_named(_ENDED)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=silent_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {silent_s:.0f} s. What it fetched is kept: the next run resumes.",
            )
        ],
    )


def _tell(client: SyncPrefectClient, block: str) -> AutomationCore:
    try:
        document = client.read_block_document_by_name(block, Webhook.get_block_type_slug())
    except (ObjectNotFound, PrefectHTTPStatusError):
        hint = "save one: prefect.blocks.webhook.Webhook(url=...).save(NAME), or in the server's pages under Blocks"
        raise ConfigError(f"--notify: Prefect has no Webhook block {block!r}", hint) from None
    return AutomationCore(
        name=TELL,
        description="A run failed, crashed, took too long, is incomplete, or its data broke an expectation.",
        trigger=EventTrigger(
            expect=_named(_NEEDS_A_PERSON),
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=document.id, payload=_PAYLOAD)],
    )


_OURS = ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.threadmill"})


def _named(states: frozenset[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}
