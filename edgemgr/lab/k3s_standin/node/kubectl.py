"""`k3s kubectl`: version, get, apply, create, delete, wait, cluster-info; other commands of kubectl are refused."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from urllib.parse import urlencode

from . import kubectl_print
from .discovery import version_info
from .environment import KUBECONFIG, below_root, variable
from .kinds import PODS, by_object, by_word
from .kubeconfig import Access
from .resources import APPLY
from .yaml_subset import YamlError, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .kinds import Kind

_VALUES = {
    "-n": "namespace", "--namespace": "namespace", "-o": "output", "--output": "output", "-l": "selector",
    "--selector": "selector", "--field-selector": "field", "-f": "file", "--filename": "file", "--raw": "raw",
    "--kubeconfig": "kubeconfig", "--for": "for", "--timeout": "timeout", "--request-timeout": "request",
    "--grace-period": "grace",
}  # fmt: skip
_SWITCHES = {
    "-A": "all", "--all-namespaces": "all", "--no-headers": "bare", "--all": "every", "--server-side": "server-side",
    "--ignore-not-found": "ignore", "--force": "force", "--client": "client", "--wide": "wide", "--short": "short",
    "--force-conflicts": "force", "--now": "force",
}  # fmt: skip
_WAIT_STEP_S = 0.5
_REFUSED = "The connection to the server {} was refused - did you specify the right host or port?"


class CommandError(Exception):
    """A message for standard error; the exit status is 1."""


class Options:
    """The words and options of one call."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.words: list[str] = []
        self.values: dict[str, str] = {}
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            name, separator, value = word.partition("=")
            if name in _VALUES:
                if not separator and not rest:
                    raise CommandError(f"error: flag needs an argument: {name}")
                self.values[_VALUES[name]] = value if separator else rest.pop(0)
            elif name in _SWITCHES:
                self.values[_SWITCHES[name]] = "" if value == "false" else "true"
            elif word[:2] in _VALUES and len(word) > 2:  # noqa: PLR2004 — -ojson, -nkube-system
                self.values[_VALUES[word[:2]]] = word[2:]
            elif word.startswith("-") and word != "-":
                raise CommandError(f"error: unknown flag: {word}")
            else:
                self.words.append(word)

    def get(self, name: str, default: str = "") -> str:
        """The value of an option."""
        return self.values.get(name, default)


class Client:
    """Asks the API with the administrator's kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        chosen = kubeconfig or variable("KUBECONFIG")
        try:
            self._access = Access(below_root(KUBECONFIG) if not chosen else below_root(chosen))
        except PermissionError as exc:
            raise CommandError(f"error: error loading config file {exc.filename}: permission denied") from exc
        except (OSError, KeyError, TypeError, YamlError) as exc:
            # Without a kubeconfig kubectl falls back to its old default address.
            message = (
                "The connection to the server localhost:8080 was refused - did you specify the right host or port?"
            )
            raise CommandError(message) from exc

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, str]:
        """Status and body of an answer.

        Raises:
            CommandError: there is no connection.
        """
        connection = http.client.HTTPSConnection(self._access.server, context=self._access.context, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ssl.SSLError as exc:
            raise CommandError(f"Unable to connect to the server: tls: {exc.reason}") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise CommandError(_REFUSED.format(self._access.server)) from exc
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> dict[str, Any]:
        """The object that was answered.

        Raises:
            CommandError: there is no connection, or the API refuses.
        """
        status, text = self.ask(method, path, body, content_type)
        value: dict[str, Any] = json.loads(text)
        if status == http.client.UNAUTHORIZED:
            raise CommandError("error: You must be logged in to the server (Unauthorized)")
        if status >= http.client.BAD_REQUEST:
            raise CommandError(f"Error from server ({value.get('reason', status)}): {value.get('message', text)}")
        return value


def kubectl(arguments: Sequence[str]) -> int:
    """Run one call; the exit status."""
    commands = {
        "version": _version, "get": _get, "apply": _apply, "create": _create, "delete": _delete, "wait": _wait,
        "cluster-info": _cluster_info,
    }  # fmt: skip
    try:
        options = Options(arguments)
        command = options.words.pop(0) if options.words else ""
        if command in commands:
            commands[command](options)
            return 0
        problem = f'error: unknown command "{command}" for "kubectl" (the stand-in offers {", ".join(commands)})'
    except CommandError as exc:
        problem = str(exc)
    sys.stderr.write(f"{problem}\n")
    return 1


def _write(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")


def _version(options: Options) -> None:
    found: dict[str, Any] = {"clientVersion": version_info(), "kustomizeVersion": "v5.0.0"}
    problem = None
    if not options.get("client"):
        try:
            found["serverVersion"] = Client(options.get("kubeconfig")).json("GET", "/version")
        except CommandError as exc:
            problem = exc
    if options.get("output") in ("json", "yaml"):
        _write(json.dumps(found, indent=2))
    else:
        _write(
            f"Client Version: {found['clientVersion']['gitVersion']}\nKustomize Version: {found['kustomizeVersion']}"
        )
        if "serverVersion" in found:
            _write(f"Server Version: {found['serverVersion']['gitVersion']}")
    if problem:
        raise problem


def _get(options: Options) -> None:
    client = Client(options.get("kubeconfig"))
    if raw := options.get("raw"):
        status, text = client.ask("GET", raw)
        if status >= http.client.BAD_REQUEST:
            raise CommandError(f"Error from server: {text.strip()}")
        sys.stdout.write(text)
        return
    output = options.get("output")
    found = [(kind, value) for kind, name in _named(options) if (value := _read(client, options, kind, name))]
    if output in ("json", "yaml"):
        items = [item for _, value in found for item in value.get("items", [value])]
        single = len(found) == 1 and "items" not in found[0][1]
        listed = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
        _write(json.dumps(items[0] if single else listed, indent=4))
        return
    for kind, value in found:
        items = value.get("items", [value])
        if not items:
            where = (
                ""
                if options.get("all") or not kind.namespaced
                else f" in {options.get('namespace', 'default')} namespace"
            )
            sys.stderr.write(f"No resources found{where}.\n")
        elif output == "name":
            _write("".join(f"{_word(kind)}/{item['metadata']['name']}\n" for item in items))
        elif output in ("", "wide"):
            everywhere = bool(options.get("all")) and kind.namespaced
            table = kubectl_print.table(kind, items, wide=output == "wide", namespaces=everywhere)
            _write(kubectl_print.columns(table[1:] if options.get("bare") else table))
        else:
            raise CommandError(f'error: unable to match a printer suitable for the output format "{output}"')


def _read(client: Client, options: Options, kind: Kind, name: str) -> dict[str, Any]:
    query = {"labelSelector": options.get("selector"), "fieldSelector": options.get("field")}
    query = {key: value for key, value in query.items() if value and not name}
    namespace = "" if options.get("all") else options.get("namespace", "default")
    try:
        return client.json("GET", _path(kind, namespace, name) + (f"?{urlencode(query)}" if query else ""))
    except CommandError as exc:
        if options.get("ignore") and "(NotFound)" in str(exc):
            return {}
        raise


def _named(options: Options) -> list[tuple[Kind, str]]:
    """What a user means: `pods`, `pods,nodes`, `pod NAME...`, `deployment/NAME...`."""
    if not options.words:
        raise CommandError("error: You must specify the type of resource to get.")
    if "/" in options.words[0]:
        pairs = [word.partition("/")[::2] for word in options.words]
        return [(_kind(word), name) for word, name in pairs]
    kinds = [_kind(word) for word in options.words[0].split(",")]
    return [(kind, name) for kind in kinds for name in options.words[1:] or [""]]


def _kind(word: str) -> Kind:
    kind = by_word(word)
    if kind is None:
        raise CommandError(f'error: the server doesn\'t have a resource type "{word}"')
    return kind


def _path(kind: Kind, namespace: str, name: str) -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    where = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{base}{where}/{kind.plural}" + (f"/{name}" if name else "")


def _word(kind: Kind) -> str:
    return f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()


def _objects(options: Options) -> list[tuple[Kind, dict[str, Any]]]:
    name = options.get("file")
    if not name:
        raise CommandError("error: must specify one of -f and -k")
    try:
        if name == "-":
            text = sys.stdin.read()
        else:
            with open(name, encoding="utf-8") as file:  # noqa: PTH123 — the caller's path, not the site's
                text = file.read()
        values = [value for value in documents(text) if value is not None]
    except (OSError, YamlError, ValueError) as exc:
        raise CommandError(f"error: error parsing {name}: {exc}") from exc
    values = [item for value in values for item in (value["items"] if value.get("kind") == "List" else [value])]
    found = []
    for value in values:
        kind = by_object(value)
        if kind is None:
            message = f'no matches for kind "{value.get("kind")}" in version "{value.get("apiVersion")}"'
            raise CommandError(f'error: resource mapping not found from "{name}": {message}')
        found.append((kind, value))
    return found


def _apply(options: Options) -> None:
    client = Client(options.get("kubeconfig"))
    for kind, value in _objects(options):
        path = _path(kind, _namespace_of(options, value), value["metadata"]["name"])
        status, text = client.ask("GET", path)
        answer = client.json("PATCH", path, value, APPLY)
        old = json.loads(text) if status == http.client.OK else None
        same = old is not None and old["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]
        done = (
            "serverside-applied"
            if options.get("server-side")
            else "unchanged"
            if same
            else "configured"
            if old
            else "created"
        )
        _write(f"{_word(kind)}/{value['metadata']['name']} {done}")


def _create(options: Options) -> None:
    client = Client(options.get("kubeconfig"))
    if options.words[:1] in (["namespace"], ["ns"]) and len(options.words) == 2:  # noqa: PLR2004 — the word and the name
        client.json("POST", "/api/v1/namespaces", {"metadata": {"name": options.words[1]}})
        _write(f"namespace/{options.words[1]} created")
        return
    for kind, value in _objects(options):
        client.json("POST", _path(kind, _namespace_of(options, value), ""), value)
        _write(f"{_word(kind)}/{value['metadata']['name']} created")


def _namespace_of(options: Options, value: dict[str, Any]) -> str:
    return str(value["metadata"].get("namespace") or options.get("namespace", "default"))


def _delete(options: Options) -> None:
    client = Client(options.get("kubeconfig"))
    if options.get("file"):
        wanted = [(kind, value["metadata"]["name"], _namespace_of(options, value)) for kind, value in _objects(options)]
    else:
        wanted = [(kind, name, options.get("namespace", "default")) for kind, name in _named(options)]
    for kind, name, namespace in wanted:
        names = [name]
        if not name:
            if not (options.get("every") or options.get("selector")):
                raise CommandError("error: resource(s) were provided, but no name was specified")
            names = [item["metadata"]["name"] for item in _read(client, options, kind, "")["items"]]
        for each in names:
            try:
                client.json("DELETE", _path(kind, namespace, each))
            except CommandError as exc:
                if options.get("ignore") and "(NotFound)" in str(exc):
                    continue
                raise
            _write(f'{_word(kind)} "{each}" deleted')


def _wait(options: Options) -> None:
    """`wait --for=condition=NAME`: asks again until the condition is true."""
    client = Client(options.get("kubeconfig"))
    word, _, condition = options.get("for").partition("=")
    if word != "condition":
        raise CommandError("error: the stand-in for k3s offers wait --for=condition=NAME only")
    deadline = time.monotonic() + kubectl_print.duration_s(options.get("timeout", "30s"))
    for kind, name in _named(options):
        while True:
            found = _read(client, options, kind, name)
            items = found.get("items", [found])
            if items and all(_has_condition(item, condition) for item in items):
                _write("".join(f"{_word(kind)}/{item['metadata']['name']} condition met\n" for item in items))
                break
            if time.monotonic() > deadline:
                raise CommandError(f"error: timed out waiting for the condition on {kind.plural}/{name}".rstrip("/"))
            time.sleep(_WAIT_STEP_S)


def _has_condition(value: dict[str, Any], wanted: str) -> bool:
    conditions = value.get("status", {}).get("conditions", [])
    return any(c["type"].lower() == wanted.lower() and c["status"] == "True" for c in conditions)


def _cluster_info(options: Options) -> None:
    client = Client(options.get("kubeconfig"))
    client.json("GET", _path(PODS, "kube-system", ""))
    _write("Kubernetes control plane is running at https://127.0.0.1:6443")
