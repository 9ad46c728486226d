"""The App: everything a person may ask for. The CRD, its rules and its texts come from here."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
import pydantic
from pydantic import Field

from bex_operator.api import hosts, names, quantities, rules

_DNS_NAME = rules.Pattern(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "must be the name of an object: lower-case letters, digits, '-' and '.'",
)
ObjectName = Annotated[str, Field(max_length=253), _DNS_NAME]

NAME = rules.Pattern(
    r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    "must start with a lower-case letter and hold at most 63 lower-case letters, digits and '-',"
    " no '-' at the end",
)

_IMAGE = rules.Pattern(
    r"([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*"
    r"(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?",
    "must be an image reference like registry.example.com/team/name:tag or name@sha256:…",
)
_REPO = rules.Pattern(
    r"(https://|ssh://([A-Za-z0-9][A-Za-z0-9._-]*@)?)[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?"
    r"(:[0-9]{1,5})?(/[A-Za-z0-9._~+%-]+)+/?"
    r"|git@[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[A-Za-z0-9._~][A-Za-z0-9._~/+-]*",
    "must be a git URL without credentials: https://host/path, ssh://git@host/path"
    " or git@host:path",
)
_BRANCH = rules.Pattern(
    r"[A-Za-z0-9]([A-Za-z0-9_@+-]|[./][A-Za-z0-9_@+-])*",
    "must be a branch name: letters, digits, '_', '@', '+', '-' and single '.' or '/' between them",
)
_PATH = rules.Pattern(
    r"\.|(\./)?\.?[A-Za-z0-9_@+][A-Za-z0-9_@+.-]*(/\.?[A-Za-z0-9_@+][A-Za-z0-9_@+.-]*)*/?",
    "must be a path inside the repository: relative, without '..' and spaces",
)
_PATH_PATTERN = rules.Pattern(
    r"\.|\.?[A-Za-z0-9_@+*?-][A-Za-z0-9_@+.*?-]*(/\.?[A-Za-z0-9_@+*?-][A-Za-z0-9_@+.*?-]*)*/?",
    "must be a path inside the repository, without spaces; '*' and '?' stand for parts of a name,"
    " '**' for any folders",
)
_HOST = rules.Pattern(
    hosts.HOST_REGEX,
    "must be a full host name of at least two labels, like app.example.com or *.example.com;"
    " international names in punycode (xn--…)",
)
_ENV_NAME = rules.Pattern(
    r"[A-Za-z_.-][A-Za-z0-9_.-]*",
    "must be the name of an environment variable: letters, digits, '_', '.', '-',"
    " no digit in front",
)
_SECRET_KEY = rules.Pattern(r"[A-Za-z0-9_.-]+", "must be a key of a Secret")
_HTTP_PATH = rules.Pattern(r"/[!-~]*", "must start with '/' and hold no spaces")
_TIME = rules.Pattern(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
    "must be a time like 2026-01-31T12:00:00Z",
)
_CPU = rules.Pattern(quantities.CPU_REGEX, "must be an amount of CPU like 250m or 1.5")
_MEMORY = rules.Pattern(quantities.MEMORY_REGEX, "must be an amount of memory like 512Mi or 1G")

Host = Annotated[str, Field(max_length=253), _HOST]
RepoPath = Annotated[str, Field(max_length=512), _PATH]
Argument = Annotated[str, Field(max_length=4096)]
Cpu = Annotated[str, Field(max_length=16), _CPU]
Memory = Annotated[str, Field(max_length=16), _MEMORY]

GIT_FIELDS = (
    "branch",
    "root_dir",
    "dockerfile_path",
    "docker_context",
    "builder",
    "build_filter",
    "clone_secret",
)

Tier = Literal["free", "starter", "standard", "pro", "pro-plus", "pro-max", "pro-ultra"]


class SecretKey(rules.Spec):
    """One key of a Secret in the App's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(max_length=253), _SECRET_KEY]
    """Key in the Secret."""


class EnvSource(rules.Spec):
    """Where an environment variable's value comes from."""

    secret_key_ref: Annotated[SecretKey, Field(strict=False)]
    """A key of a Secret."""


class EnvVar(rules.Spec):
    """One environment variable: a literal or a reference."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "exactly one of value and valueFrom is needed",
            "has(self.value) != has(self.valueFrom)",
            lambda env: (env.value is None) != (env.value_from is None),
        ),
    )

    name: Annotated[str, Field(max_length=256), _ENV_NAME]
    """Name of the variable. PORT and BEX_REVISION are always set by bex, whatever stands here."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """The value itself. Not for secrets: everyone who may read the App reads it."""
    value_from: Annotated[EnvSource, Field(strict=False)] | None = None
    """A reference to the value."""


class Amounts(rules.Spec):
    """Amounts of CPU and memory."""

    cpu: Cpu | None = None
    """CPU cores, like 250m or 1.5."""
    memory: Memory | None = None
    """Memory, like 512Mi."""


class Resources(rules.Spec):
    """What one replica is promised and may use at most."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "requests.cpu must be at most limits.cpu",
            "!has(self.requests) || !has(self.limits) || !has(self.requests.cpu)"
            " || !has(self.limits.cpu) || !isQuantity(self.requests.cpu)"
            " || !isQuantity(self.limits.cpu)"
            " || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0",
            lambda own: _at_most(own, "cpu", quantities.millicores),
        ),
        rules.Rule(
            "requests.memory must be at most limits.memory",
            "!has(self.requests) || !has(self.limits) || !has(self.requests.memory)"
            " || !has(self.limits.memory) || !isQuantity(self.requests.memory)"
            " || !isQuantity(self.limits.memory)"
            " || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
            lambda own: _at_most(own, "memory", quantities.bytes_of),
        ),
    )

    requests: Annotated[Amounts, Field(strict=False)] | None = None
    """What the machine sets aside for a replica. Defaults to the limits."""
    limits: Annotated[Amounts, Field(strict=False)] | None = None
    """What a replica may use at most."""


def _promised_cpu(spec: Any) -> bool:
    """Tell whether a replica has CPU set aside; a missing request is the limit's."""
    if spec.tier is not None or spec.resources is None:
        return spec.tier is not None
    for amounts in (spec.resources.requests, spec.resources.limits):
        if amounts is not None and amounts.cpu is not None:
            return quantities.millicores(amounts.cpu) > 0
    return False


def _at_most(resources: Any, field: str, read: Any) -> bool:
    request = getattr(resources.requests, field, None)
    limit = getattr(resources.limits, field, None)
    return request is None or limit is None or read(request) <= read(limit)


class Autoscaling(rules.Spec):
    """How many replicas run, by how busy they are."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "minReplicas must be at most maxReplicas",
            "self.minReplicas <= self.maxReplicas",
            lambda own: own.min_replicas <= own.max_replicas,
        ),
    )

    min_replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Fewest replicas."""
    max_replicas: Annotated[int, Field(ge=1, le=100)]
    """Most replicas."""
    target_cpu_percent: Annotated[int, Field(ge=1, le=100, alias="targetCPUPercent")] = 80
    """How much of the CPU set aside for them replicas should use on average."""


PathPattern = Annotated[str, Field(max_length=512), _PATH_PATTERN]


class BuildFilter(rules.Spec):
    """Which changes of a repository start a build. Orders of people always do."""

    paths: Annotated[
        tuple[PathPattern, ...], Field(strict=False, max_length=100), rules.Unique()
    ] = ()
    """Files and folders that count, from the root of the repository. Defaults to what is built:
    rootDir, dockerContext and the Dockerfile."""
    ignored_paths: Annotated[
        tuple[PathPattern, ...], Field(strict=False, max_length=100), rules.Unique()
    ] = ()
    """Files and folders that do not count although paths names them."""


class AppSpec(rules.Spec):
    """What an App should be. Exactly one of image and repo says what to run."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "exactly one of image and repo is needed",
            "has(self.image) != has(self.repo)",
            lambda spec: (spec.image is None) != (spec.repo is None),
        ),
        rules.Rule(
            "branch, rootDir, dockerfilePath, dockerContext, builder, buildFilter and cloneSecret"
            " need repo",
            "has(self.repo) || !(has(self.branch) || has(self.rootDir)"
            " || has(self.dockerfilePath) || has(self.dockerContext) || has(self.builder)"
            " || has(self.buildFilter) || has(self.cloneSecret))",
            lambda spec: (
                spec.repo is not None or all(getattr(spec, field) is None for field in GIT_FIELDS)
            ),
        ),
        rules.Rule(
            "tier and resources exclude each other",
            "!(has(self.tier) && has(self.resources))",
            lambda spec: spec.tier is None or spec.resources is None,
        ),
        rules.Rule(
            "autoscaling needs a tier, or resources that set CPU aside",
            "!has(self.autoscaling) || has(self.tier) || (has(self.resources)"
            " && (has(self.resources.requests) && has(self.resources.requests.cpu)"
            " ? !self.resources.requests.cpu.matches(r'^0*([.]0*)?m?$')"
            " : has(self.resources.limits) && has(self.resources.limits.cpu)"
            " && !self.resources.limits.cpu.matches(r'^0*([.]0*)?m?$')))",
            lambda spec: spec.autoscaling is None or _promised_cpu(spec),
        ),
    )

    image: Annotated[str, Field(max_length=512), _IMAGE] | None = None
    """A prebuilt image to run, like registry.example.com/team/name:tag."""
    repo: Annotated[str, Field(max_length=2048), _REPO] | None = None
    """A git repository to build, like https://host/team/name."""
    branch: Annotated[str, Field(max_length=255), _BRANCH] | None = None
    """The branch of repo to build. Defaults to main."""
    root_dir: RepoPath | None = None
    """Folder of repo that holds the App."""
    dockerfile_path: RepoPath | None = None
    """The Dockerfile, relative to rootDir. Defaults to Dockerfile."""
    docker_context: RepoPath | None = None
    """Folder that a Dockerfile build sees, relative to the root of repo. Defaults to rootDir."""
    builder: Literal["auto", "buildpack", "dockerfile", "native"] | None = None
    """How repo is built. Defaults to auto: a Dockerfile if there is one, else one made for it."""
    build_filter: Annotated[BuildFilter, Field(strict=False)] | None = None
    """Which pushes are built. One whose commit says `[skip bex]` or `[bex skip]` never is."""
    clone_secret: ObjectName | None = None
    """Secret for cloning repo: `token` for https, `ssh-privatekey` and `known_hosts` for ssh."""
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    """Port the App listens on; the variable PORT tells it."""
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """How many run at once. Suspending keeps this number; with autoscaling only 0 counts: park."""
    autoscaling: Annotated[Autoscaling, Field(strict=False)] | None = None
    """Let the number of replicas follow the load, instead of replicas."""
    command: (
        Annotated[tuple[Argument, ...], Field(strict=False, min_length=1, max_length=100)] | None
    ) = None
    """What to run instead of the image's entrypoint. Not run in a shell."""
    args: Annotated[tuple[Argument, ...], Field(strict=False, max_length=100)] | None = None
    """Arguments instead of the image's own."""
    pre_deploy_command: (
        Annotated[tuple[Argument, ...], Field(strict=False, min_length=1, max_length=100)] | None
    ) = None
    """What to run to its end, once, before a release serves: migrations, for example. It has the
    release's image, variables and size, and ten minutes. If it fails, what served goes on.
    Not run in a shell. A restart and a rollback are releases too."""
    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] | None = None
    """User id to run as, instead of the image's own. With it the App's pods pass the restricted
    Pod Security Standard whatever the image says."""
    env: Annotated[
        tuple[Annotated[EnvVar, Field(strict=False)], ...],
        Field(strict=False, max_length=500),
        rules.Unique("name"),
    ] = ()
    """Environment variables, in order."""
    env_from_secret: ObjectName | None = None
    """A Secret whose keys all become environment variables; env wins over it."""
    health_check_path: Annotated[str, Field(max_length=1024), _HTTP_PATH] | None = None
    """Path that answers 2xx or 3xx when the App is well. Without it, accepting TCP is enough."""
    tier: Tier | None = None
    """Size of a replica: CPU and memory, set aside and at most the same."""
    resources: Annotated[Resources, Field(strict=False)] | None = None
    """CPU and memory of a replica, instead of a tier."""
    host: Host | None = None
    """The main host name, the one of the App's URL. Whoever claims a host first keeps it.
    `*.` in front stands for one label."""
    hosts: Annotated[tuple[Host, ...], Field(strict=False, max_length=100), rules.Unique()] = ()
    """Further host names."""
    expose: bool = False
    """Give the App a name under the platform's base domain too."""
    suspended: bool = False
    """Park the App: nothing runs, hosts and everything else are kept."""
    restarted_at: Annotated[str, Field(max_length=40), _TIME] | None = None
    """Change this time to restart every replica, one after another."""
    idle_ttl_seconds: Annotated[int, Field(ge=0, le=604800)] | None = Field(
        default=None, alias="idleTTLSeconds"
    )
    """After how long without a request the App may sleep; 0 leaves it to the platform. Kept, but
    without effect yet: nothing would wake the App up."""
    max_shutdown_delay_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    """How long a replica may take to end after SIGTERM."""


class App(AppSpec):
    """An App as a person defines it: a name and what it should be."""

    name: Annotated[str, Field(max_length=63), NAME]
    """Name of the App and of everything made for it."""

    def manifest(self, namespace: str) -> dict[str, Any]:
        """Render the App object; what was left to its default is left to the API server's.

        It carries the operator's finalizer, which the operator need not write then; to an App that
        was made by other means it adds it.
        """
        spec = self.model_dump(
            mode="json", by_alias=True, exclude={"name"}, exclude_unset=True, exclude_none=True
        )
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "finalizers": [names.FINALIZER],
            },
            "spec": spec,
        }

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """Read an App object; null counts as absent, as it does for the API server.

        Raises:
            pydantic.ValidationError: every field that breaks a rule.
        """
        spec = manifest.get("spec")
        given = dict(spec) if isinstance(spec, Mapping) else {}
        if given.get("name") is not None:
            # `name` is no field of the spec, though it is one of the model.
            given["spec.name"] = given["name"]
        given["name"] = manifest["metadata"]["name"]
        written = orjson.dumps(given)
        if b"null" in written:
            written = orjson.dumps(_without_nulls(given))
        return cls.model_validate_json(written, by_alias=True, by_name=False)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def hosts_of(app: App, base_domain: str | None = None) -> tuple[str, ...]:
    """Return every host the App asks for, folded, each once: the main one, the platform's, others.

    Without a *base_domain* the platform has no name to give.
    """
    exposed = hosts.exposed(app.name, base_domain) if app.expose else None
    return hosts.fold_all(app.host, exposed, *app.hosts)


def main_host_of(app: App, base_domain: str | None = None) -> str | None:
    """Return the first host that a person can open; a wildcard is none."""
    asked = hosts_of(app, base_domain)
    return next((each for each in asked if not each.startswith(hosts.WILDCARD)), None)


def describe(refused: pydantic.ValidationError) -> str:
    """Put what is wrong with an App in one line: field, value, rule; at most three of them."""
    parts = []
    for error in refused.errors(include_url=False)[:3]:
        holder = "metadata" if error["loc"] == ("name",) else "spec"
        field = ".".join(str(part) for part in (holder, *error["loc"]))
        shown = error["input"] if isinstance(error["input"], str | int | float) else None
        value = f" {str(shown)[:60]!r}" if shown is not None else ""
        parts.append(f"{field}{value}: {error['msg']}")
    more = refused.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
