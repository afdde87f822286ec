"""Configuration of Temporal's sandbox: kept and compared, without effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from perdure.worker._runner import WorkflowRunner


@dataclass(frozen=True)
class SandboxMatcher:
    """Names of members that Temporal's sandbox would refuse. Without effect."""

    access: AbstractSet[str] = frozenset()
    use: AbstractSet[str] = frozenset()
    children: Mapping[str, SandboxMatcher] = field(default_factory=dict)
    match_self: bool = False
    only_runtime: bool = False
    leaf_message: str | None = None
    leaf_warning: object | None = None
    exclude: AbstractSet[str] = frozenset()

    all: ClassVar[SandboxMatcher]
    none: ClassVar[SandboxMatcher]
    all_uses: ClassVar[SandboxMatcher]
    all_runtime: ClassVar[SandboxMatcher]
    all_uses_runtime: ClassVar[SandboxMatcher]

    @classmethod
    def nested_child(cls, path: Sequence[str], child: SandboxMatcher) -> SandboxMatcher:
        """A matcher that has ``child`` at the end of a path."""
        for name in reversed(path):
            child = cls(children={name: child})
        return child

    def access_matcher(self, context: Any, *child_path: str, include_use: bool = False) -> SandboxMatcher | None:
        """None: nothing is refused by a matcher."""
        return None

    def match_access(self, context: Any, *child_path: str, include_use: bool = False) -> bool:
        """False: nothing is refused by a matcher."""
        return False

    def child_matcher(self, *child_path: str) -> SandboxMatcher | None:
        """The matcher at the end of a path, if there is one."""
        matcher: SandboxMatcher | None = self
        for name in child_path:
            matcher = None if matcher is None else matcher.children.get(name)
        return matcher

    def __or__(self, other: SandboxMatcher) -> SandboxMatcher:
        """Both together."""
        return replace(
            self,
            access=self.access | other.access,
            use=self.use | other.use,
            children={**self.children, **other.children},
        )

    def with_child_unrestricted(self, *child_path: str) -> SandboxMatcher:
        """This matcher without one child."""
        name, *rest = child_path
        children = {key: value for key, value in self.children.items() if rest or key != name}
        if rest and name in children:
            children[name] = children[name].with_child_unrestricted(*rest)
        return replace(self, access=self.access - {name}, use=self.use - {name}, children=children)


SandboxMatcher.none = SandboxMatcher()
SandboxMatcher.all = SandboxMatcher(access={"*"})
SandboxMatcher.all_uses = SandboxMatcher(use={"*"})
SandboxMatcher.all_runtime = SandboxMatcher(access={"*"}, only_runtime=True)
SandboxMatcher.all_uses_runtime = SandboxMatcher(use={"*"}, only_runtime=True)


#: Modules with members that the determinism guard replaces or refuses.
_GUARDED = ("asyncio", "datetime", "io", "os", "random", "socket", "subprocess", "threading", "time", "uuid")


@dataclass(frozen=True)
class SandboxRestrictions:
    """Which modules Temporal's sandbox would share, and which members it would refuse. Without effect."""

    passthrough_modules: AbstractSet[str]
    invalid_modules: SandboxMatcher
    invalid_module_members: SandboxMatcher
    import_notification_policy: Any = None
    passthrough_all_modules: bool = False
    disable_lazy_sys_module_passthrough: bool = False

    default: ClassVar[SandboxRestrictions]
    invalid_module_members_default: ClassVar[SandboxMatcher] = SandboxMatcher(
        children=dict.fromkeys(_GUARDED, SandboxMatcher.all_uses_runtime)
    )
    passthrough_modules_minimum: ClassVar[AbstractSet[str]] = frozenset()
    passthrough_modules_with_temporal: ClassVar[AbstractSet[str]] = frozenset({"perdure"})
    passthrough_modules_maximum: ClassVar[AbstractSet[str]] = frozenset({"perdure"})
    passthrough_modules_default: ClassVar[AbstractSet[str]] = frozenset({"perdure"})

    def with_passthrough_modules(self, *modules: str) -> SandboxRestrictions:
        """These restrictions with more modules shared."""
        return replace(self, passthrough_modules=self.passthrough_modules | set(modules))

    def with_passthrough_all_modules(self) -> SandboxRestrictions:
        """These restrictions with every module shared."""
        return replace(self, passthrough_all_modules=True)

    def with_import_notification_policy(self, policy: Any) -> SandboxRestrictions:
        """These restrictions with another policy."""
        return replace(self, import_notification_policy=policy)


SandboxRestrictions.default = SandboxRestrictions(
    SandboxRestrictions.passthrough_modules_default,
    SandboxMatcher.none,
    SandboxRestrictions.invalid_module_members_default,
)


@dataclass(frozen=True)
class SandboxedWorkflowRunner(WorkflowRunner):
    """Runs workflow code under the determinism guard, which is the default."""

    restrictions: SandboxRestrictions = SandboxRestrictions.default
    runner_class: type[Any] | None = None

    @property
    def is_guarded(self) -> bool:
        """True."""
        return True
