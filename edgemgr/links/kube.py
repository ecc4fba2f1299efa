"""A site's cluster as seen from here: through SSH to its own loopback, with no port of k3s open to the network."""

from __future__ import annotations

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from edgemgr.errors import SiteError, SiteUnreachableError
from edgemgr.links.connection import Connection
from edgemgr.links.kube_client import ApiFaultError, read_state
from edgemgr.links.kube_health import assess
from edgemgr.links.kubeconfig import Kubeconfig, read_kubeconfig
from edgemgr.links.ssh import connect
from edgemgr.links.tunnel import open_tunnel
from edgemgr.model.cluster import Health, Observation
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target
from edgemgr.model.timestamp import utc_now

#: k3s restarts its API in seconds; a look that falls into them is repeated.
_TRIES = 3
_PAUSE_S = 2.0


def observe(target: Target, *, timeout_s: float = 10.0) -> Observation:
    """Look at what runs at the site. A cluster in trouble is an Observation, not an error.

    Raises:
        SiteUnreachableError: the site could not be reached, or the connection was lost on the way.
        SiteIdentityError, SiteLoginError: as `ssh.connect`.
        SiteError: no sudo (E-SITE-SUDO), no forwarding (E-SITE-FORWARD-FORBIDDEN), a strange kubeconfig
            (E-KUBECONFIG-REFUSED).
    """
    with connect(target, timeout_s=timeout_s) as connection:
        kubeconfig = read_kubeconfig(connection, timeout_s=timeout_s + 5)
        if kubeconfig is None:
            return Observation(observed_at=utc_now(), health=Health.UNKNOWN, health_reason="no k3s")
        tries = Retrying(
            retry=retry_if_exception_type(ApiFaultError),
            stop=stop_after_attempt(_TRIES),
            wait=wait_fixed(_PAUSE_S),
            reraise=True,
        )
        try:
            return tries(_observe, connection, kubeconfig)
        except ApiFaultError as exc:
            # Silence of the API and silence of the line look the same from here: ask the line.
            connection.run("true", timeout_s=timeout_s)
            return Observation(observed_at=utc_now(), health=Health.FAILING, health_reason=str(exc))


def kubeconfig(target: Target, local_port: int, *, timeout_s: float = 10.0) -> Secret:
    """Make a kubeconfig for the site that leads to 127.0.0.1:`local_port`, where a tunnel must listen.

    Raises:
        SiteError: there is no k3s (E-SITE-NO-K3S); and as `observe`.
    """
    with connect(target, timeout_s=timeout_s) as connection:
        return required_kubeconfig(connection).render(target.name, local_port)


def required_kubeconfig(connection: Connection) -> Kubeconfig:
    """Read the site's kubeconfig where there must be one.

    Raises:
        SiteError: there is no k3s (E-SITE-NO-K3S); and as `read_kubeconfig`.
    """
    found = read_kubeconfig(connection)
    if found is None:
        raise SiteError(
            f"{connection.name} has no k3s", hint="Bootstrap it first: `edgemgr bootstrap`.", code="E-SITE-NO-K3S"
        )
    return found


def _observe(connection: Connection, kubeconfig: Kubeconfig) -> Observation:
    try:
        connection.channel_to(kubeconfig.host, kubeconfig.port).close()
    except SiteUnreachableError as exc:
        if exc.code != "E-SITE-FORWARD":
            raise
        raise ApiFaultError(f"nothing listens on port {kubeconfig.port}: k3s does not run") from exc
    with open_tunnel(connection, host=kubeconfig.host, port=kubeconfig.port) as port:
        return assess(read_state(kubeconfig, port), utc_now())
