"""The steps of the way back. Each may be cut off anywhere and done again."""

from __future__ import annotations

from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_context,
    activation_paths,
    activation_release,
    activation_snapshot,
    activation_verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_context import Context


def stop(context: Context) -> None:
    """The new version stops, and does not start again."""
    activation_context.keep_stopped(context)


def kill_containers(context: Context) -> None:
    """Containers of the new version must not live on below the old one."""
    context.node.services.kill_containers()


def restore(context: Context) -> dict[str, Any]:
    """Datastore, token, TLS, credentials, manifests, configuration and node password as they were."""
    activation_context.keep_stopped(context)
    activation_context.remove_durably(activation_paths.restore_reserve())
    activation_snapshot.restore(context.snapshot, "{0}-{1}".format(context.plan.number, context.hop_index))
    return {"snapshot": context.snapshot}


def switch_back(context: Context) -> None:
    """The old binary and its archives."""
    activation_context.keep_stopped(context)
    activation_release.switch_back(context.facts())


def start(context: Context) -> None:
    """The old version starts. A snapshot that was cut off (a full disk?) must not take the room that it needs."""
    activation_context.remove_durably(activation_paths.restore_reserve())
    activation_snapshot.drop_unfinished(context.snapshot)
    activation_context.release()
    context.node.services.start(context.plan.start_timeout_s)


def verify(context: Context) -> dict[str, Any]:
    """All is as well as before."""
    return activation_verify.await_health(context, context.hop.from_version, is_back=True)


STEPS = {
    "rollback-stop": stop,
    "kill-containers": kill_containers,
    "restore": restore,
    "switch-back": switch_back,
    "rollback-start": start,
    "rollback-verify": verify,
}
