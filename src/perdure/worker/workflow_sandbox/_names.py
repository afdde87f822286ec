"""What a worker may refuse beyond the determinism guard: restrictions by the names of Temporal's sandbox."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from perdure.worker._runner import WorkflowRunner
from perdure.workflow import SandboxImportNotificationPolicy


class _Context(Protocol):
    is_runtime: bool


@dataclass(frozen=True)
class SandboxMatcher:
    """Names of members to refuse.

    Attributes:
        access: names that may not even be looked at; ``*`` stands for all.
        use: names that may not be called, nor have their attributes read; ``*`` stands for all.
        children: matchers of what is inside members.
        match_self: everything here is refused.
        only_runtime: accepted as Temporal's; here nothing is refused before a workflow runs.
        leaf_message: the message of the error or warning, where ``match_self`` is set.
        leaf_warning: warn with this class instead of refusing, where ``match_self`` is set.
        exclude: names that are never refused.
    """

    access: AbstractSet[str] = frozenset()
    use: AbstractSet[str] = frozenset()
    children: Mapping[str, SandboxMatcher] = field(default_factory=dict)
    match_self: bool = False
    only_runtime: bool = False
    leaf_message: str | None = None
    leaf_warning: type[Warning] | None = None
    exclude: AbstractSet[str] = frozenset()

    all: ClassVar[SandboxMatcher]
    none: ClassVar[SandboxMatcher]
    all_uses: ClassVar[SandboxMatcher]
    all_runtime: ClassVar[SandboxMatcher]
    all_uses_runtime: ClassVar[SandboxMatcher]

    def __post_init__(self) -> None:
        """Refuse what only makes sense on a leaf elsewhere."""
        if (self.leaf_message or self.leaf_warning) and not self.match_self:
            raise ValueError("leaf_message and leaf_warning need match_self.")

    @classmethod
    def nested_child(cls, path: Sequence[str], child: SandboxMatcher) -> SandboxMatcher:
        """A matcher that has ``child`` at the end of a path."""
        for name in reversed(path):
            child = cls(children={name: child})
        return child

    def access_matcher(self, context: _Context, *child_path: str, include_use: bool = False) -> SandboxMatcher | None:
        """The matcher that refuses access, or use as well, to what is at the end of a path; None if there is none."""
        matcher = self
        for name in child_path:
            if name in matcher.exclude or (matcher.only_runtime and not context.is_runtime):
                return None
            if matcher.match_self or not matcher.access.isdisjoint((name, "*")):
                return matcher
            if include_use and not matcher.use.isdisjoint((name, "*")):
                return matcher
            child = matcher.children.get(name) or matcher.children.get("*")
            if child is None:
                return None
            matcher = child
        return matcher if matcher.match_self and (context.is_runtime or not matcher.only_runtime) else None

    def match_access(self, context: _Context, *child_path: str, include_use: bool = False) -> bool:
        """Whether access, or use as well, to what is at the end of a path is refused."""
        return self.access_matcher(context, *child_path, include_use=include_use) is not None

    def child_matcher(self, *child_path: str) -> SandboxMatcher | None:
        """The matcher for what is inside the end of a path, if there is one."""
        matcher: SandboxMatcher = self
        only_runtime = self.only_runtime
        for name in child_path:
            if name in matcher.exclude:
                return None
            if matcher.match_self or not (matcher.access | matcher.use).isdisjoint((name, "*")):
                return SandboxMatcher.all_runtime if only_runtime else SandboxMatcher.all
            child = matcher.children.get(name) or matcher.children.get("*")
            if child is None:
                return None
            matcher = child
            only_runtime = only_runtime or matcher.only_runtime
        return matcher

    def __or__(self, other: SandboxMatcher) -> SandboxMatcher:
        """Both together."""
        for name in ("only_runtime", "leaf_message", "leaf_warning"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"Matchers that differ in {name} cannot be combined.")
        if self.match_self or other.match_self:
            return SandboxMatcher.all
        children = dict(self.children)
        for name, child in other.children.items():
            children[name] = children[name] | child if name in children else child
        return replace(
            self,
            access=self.access | other.access,
            use=self.use | other.use,
            exclude=self.exclude | other.exclude,
            children=children,
        )

    def with_child_unrestricted(self, *child_path: str) -> SandboxMatcher:
        """This matcher without one child."""
        name, *rest = child_path
        children = dict(self.children)
        if rest:
            if name in children:
                children[name] = children[name].with_child_unrestricted(*rest)
            return replace(self, children=children)
        children.pop(name, None)
        return replace(self, access=self.access - {name}, use=self.use - {name}, children=children)


SandboxMatcher.none = SandboxMatcher()
SandboxMatcher.all = SandboxMatcher(match_self=True)
SandboxMatcher.all_runtime = SandboxMatcher(match_self=True, only_runtime=True)
SandboxMatcher.all_uses = SandboxMatcher(use={"*"})
SandboxMatcher.all_uses_runtime = SandboxMatcher(use={"*"}, only_runtime=True)


@dataclass(frozen=True)
class SandboxRestrictions:
    """What a worker refuses workflow code, beyond what the determinism guard refuses or gives the run's own value for.

    Attributes:
        passthrough_modules: modules whose own code is not restricted, with all below them.
        invalid_modules: modules that workflow code may not import.
        invalid_module_members: members of modules that workflow code may not look at or use.
        import_notification_policy: what to say of imports in workflow code.
        passthrough_all_modules: restrict the code of no module.
        disable_lazy_sys_module_passthrough: accepted as Temporal's; nothing is passed through lazily here.
        guard_only: restrictions that add nothing to the guard (a worker's default).
    """

    passthrough_modules: AbstractSet[str]
    invalid_modules: SandboxMatcher
    invalid_module_members: SandboxMatcher
    import_notification_policy: SandboxImportNotificationPolicy = SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
    passthrough_all_modules: bool = False
    disable_lazy_sys_module_passthrough: bool = False

    default: ClassVar[SandboxRestrictions]
    guard_only: ClassVar[SandboxRestrictions]
    invalid_module_members_default: ClassVar[SandboxMatcher]
    passthrough_modules_minimum: ClassVar[AbstractSet[str]] = frozenset({"google.protobuf", "grpc", "perdure"})
    passthrough_modules_with_temporal: ClassVar[AbstractSet[str]] = passthrough_modules_minimum | {
        "nexusrpc",
        "pydantic",
        "pydantic_core",
    }
    passthrough_modules_maximum: ClassVar[AbstractSet[str]] = (
        passthrough_modules_with_temporal | sys.stdlib_module_names
    )
    passthrough_modules_default: ClassVar[AbstractSet[str]] = passthrough_modules_maximum

    def with_passthrough_modules(self, *modules: str) -> SandboxRestrictions:
        """These restrictions, without restricting the code of more modules."""
        return replace(self, passthrough_modules=self.passthrough_modules | set(modules))

    def with_passthrough_all_modules(self) -> SandboxRestrictions:
        """These restrictions, without restricting the code of any module."""
        return replace(self, passthrough_all_modules=True)

    def with_import_notification_policy(self, policy: SandboxImportNotificationPolicy) -> SandboxRestrictions:
        """These restrictions with another policy."""
        return replace(self, import_notification_policy=policy)

    @property
    def _adds_to_guard(self) -> bool:
        return (
            self.invalid_modules != SandboxMatcher.none
            or self.invalid_module_members != SandboxMatcher.none
            or self.import_notification_policy != SandboxImportNotificationPolicy.SILENT
        )


SandboxRestrictions.guard_only = SandboxRestrictions(
    SandboxRestrictions.passthrough_modules_default,
    SandboxMatcher.none,
    SandboxMatcher.none,
    SandboxImportNotificationPolicy.SILENT,
)


@dataclass(frozen=True)
class SandboxedWorkflowRunner(WorkflowRunner):
    """Runs workflow code under the determinism guard, and under restrictions if some are given.

    Attributes:
        restrictions: ``SandboxRestrictions.default`` refuses all that Temporal's sandbox refuses, also what the guard
            would give the run's own value for.
        runner_class: accepted as Temporal's.
    """

    restrictions: SandboxRestrictions = SandboxRestrictions.guard_only
    runner_class: type[Any] | None = None

    @property
    def is_guarded(self) -> bool:
        """True."""
        return True

    @property
    def _restrictions(self) -> SandboxRestrictions | None:
        return self.restrictions if self.restrictions._adds_to_guard else None
