"""Settings: the only reader of the environment and of configuration files.

Order, strongest first: command line, `EDGEMGR_*` environment, `/etc/edgemgr/config.toml` (or the file named
by `EDGEMGR_CONFIG`), defaults. `edgemgr doctor` prints what is in force.
"""

from __future__ import annotations

import os
import pwd
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from edgemgr.errors import ConfigurationError

DEFAULT_CONFIG_FILE = Path("/etc/edgemgr/config.toml")
DATABASE_FILE = "edgemgr.db"


class Settings(BaseSettings):
    """What an administrator may set. Durations end in `_s` (seconds), sizes in `_bytes` or `_mib`."""

    model_config = SettingsConfigDict(env_prefix="EDGEMGR_", extra="forbid", frozen=True)

    state_dir: Path = Field(Path("/var/lib/edgemgr"), description="Database, keys, releases, logs of attempts.")
    runtime_dir: Path = Field(
        Path("/run/edgemgr"),
        description="Work directories of attempts, modules as Ansible packs them; best on a memory file system.",
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of a PostgreSQL shared by several machines; unset: SQLite in state_dir.",
    )
    key_file: Path | None = Field(
        None, description="File with the key that seals secrets; unset: secret.key in state_dir, made at first use."
    )
    workers: int = Field(1, ge=0, le=16, description="Workers inside `edgemgr serve`.")
    zones: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Zones that the workers serve, separated by commas: a site's label `zone`, or `default` for"
        " sites without one; unset: every site.",
    )
    batch_size: int = Field(200, ge=1, le=200, description="Sites that a worker takes up together at most.")
    forks: int = Field(
        20, ge=1, le=200, description="Sites that one Ansible process works on at the same time; each costs 15 MB."
    )
    max_running: int = Field(
        500, ge=1, description="Operations that run at once in the whole appliance, unless a limit for `all` is set."
    )
    transfers: int = Field(
        20, ge=1, le=200, description="Sites that a worker sends bytes to at the same time, beside everything else."
    )
    lease_s: float = Field(30.0, ge=1, description="How long a silent worker keeps its attempts.")
    connect_timeout_s: float = Field(10.0, gt=0, description="Time for a site to answer a connection.")
    ssh_fast_kex: bool = Field(
        False,
        description="Give up OpenSSH's post-quantum key exchange for half the CPU a connection.",
    )
    probe_interval_s: float = Field(3.0, gt=0, description="How often sites that owe something are tried at first.")
    probe_interval_max_s: float = Field(300.0, gt=0, description="How rarely, for sites that have been away long.")
    probe_rate: float = Field(
        125.0, gt=0, description="Tries a second of all sites together above which each is tried more rarely."
    )
    health_interval_s: float = Field(300.0, gt=0, description="Age at which a site's observation is refreshed.")
    history_days: int = Field(90, ge=1, description="Age in days from which ended operations and events are removed.")
    history_per_site: int = Field(
        100, ge=1, description="Ended operations of each kind that a site keeps at most; the newest one stays for good."
    )
    bundle_max_mib: int = Field(
        16384, ge=1, le=16384, description="Size of the largest bundle that is taken in, in MiB."
    )
    bundle_quota_mib: int = Field(
        65536, ge=1, description="Room that bundles and releases may take in state_dir together, in MiB."
    )
    backup_interval_s: float = Field(
        86400.0,
        ge=0,
        description="How often a site with k3s is backed up by itself, unless its profile has a schedule of its own, in"
        " seconds; 0: never.",
    )
    backup_node_keep: int = Field(3, ge=1, le=100, description="Backups that a node keeps itself.")
    backup_at_least: int = Field(
        3, ge=1, description="The newest backups of a site, which stay here whatever their age."
    )
    backup_at_most: int = Field(30, ge=1, description="Backups of a site that are kept here at most.")
    backup_max_age_s: float = Field(
        90 * 86400.0, gt=0, description="Age above which a backup goes, unless it is one of the newest, in seconds."
    )
    renew_window: str | None = Field(
        None,
        description="Hours in which k3s may be restarted to renew certificates that are due, by each site's own clock,"
        " such as `sat,sun 01:00-05:00`; unset: never by itself.",
    )
    lab_dir: Path = Field(Path("/var/lib/edgemgr-lab"), description="Simulated sites: base tree, disks, CSV.")
    listen: str = Field("127.0.0.1:8080", description="Address and port of the console.")

    @field_validator("zones", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Let variables and files give a list as words between commas."""
        return tuple(filter(None, (word.strip() for word in value.split(",")))) if isinstance(value, str) else value

    @property
    def url(self) -> str:
        """The database that is in force, as an SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.state_dir / DATABASE_FILE}"

    @property
    def log_dir(self) -> Path:
        """Where the logs of attempts are kept."""
        return self.state_dir / "logs"

    @property
    def release_dir(self) -> Path:
        """Where k3s release files and the content of bundles are kept, by digest."""
        return self.state_dir / "releases"

    @property
    def incoming_dir(self) -> Path:
        """Where bundles lie while they are taken in; nobody else can look into it."""
        return self.state_dir / "incoming"

    @property
    def backup_age(self) -> timedelta:
        """How old a site's newest backup may be: two intervals, or a week where none are taken by themselves.

        Where its profile has no schedule of its own.
        """
        return timedelta(seconds=2 * self.backup_interval_s or 7 * 86400.0)

    @property
    def backup_dir(self) -> Path:
        """Where the sites' backup stores lie."""
        return self.state_dir / "backups"

    @property
    def trust_dir(self) -> Path:
        """Which roots are trusted, and the newest bundle of each product and channel."""
        return self.state_dir / "trust"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings gives all
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path:
    """The configuration file that is read, whether it exists or not."""
    return Path(os.environ.get("EDGEMGR_CONFIG", DEFAULT_CONFIG_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Read the settings in force.

    Raises:
        ConfigurationError: a value is not acceptable or a name is unknown; all faults in one message.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise ConfigurationError(
            f"the settings cannot be used: {faults}",
            hint=f"Mend {config_file()} or the EDGEMGR_* variable of that name; docs/settings.md lists them.",
            code="E-CONFIG-VALUE",
        ) from exc
    except ValueError as exc:  # a file that is no TOML
        raise ConfigurationError(
            f"{config_file()} cannot be read: {exc}", hint="Mend the file.", code="E-CONFIG-FILE"
        ) from exc


def program_environment() -> dict[str, str]:
    """The few variables of our own environment that a child program may see (an allow-list)."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TERM", "TMPDIR", "TZ") if name in os.environ}
    # The virtual environment's programs first, so that ansible-playbook is the one that was locked.
    kept["PATH"] = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    kept.setdefault("HOME", "/root")
    kept.setdefault("LANG", "C.UTF-8")
    return kept


def current_actor() -> str:
    """Who gives this command, as events name it: the login behind sudo, or the user of the process."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
