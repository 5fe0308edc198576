"""Features of a kernel from README texts of real kernels, and from releases."""

from pathlib import Path

import pytest

from surftrace.errors import SurftraceError
from surftrace.kernel.features import (
    ALL_FEATURES,
    Feature,
    Features,
    exact_release,
    features_of_readme,
    features_of_release,
)

_READMES = Path(__file__).parents[1] / "data/readme"

# What came with each mainline release.
_NEW: dict[str, set[Feature]] = {
    "4.7": {Feature.HIST_TRIGGER},
    "4.17": {Feature.SYNTHETIC_EVENT},
    "4.20": {Feature.ARGUMENT_N, Feature.ARRAY, Feature.SYMBOL},
    "5.0": {Feature.DYNAMIC_EVENTS},
    "5.2": {Feature.ERROR_LOG},
    "5.3": {Feature.USTRING, Feature.USER_MEMORY},
    "5.4": {Feature.IMMEDIATE},
    "5.10": {Feature.RETURN_TARGET, Feature.SYNTHETIC_STRING, Feature.USER_STACK},
    "5.14": {Feature.EXACT_MISSES},
    "5.15": {Feature.HIST_BUCKETS, Feature.EPROBE},
    "5.17": {Feature.USTRING_FILTER},
    "6.3": {Feature.CHAR, Feature.FUNCTION_FILTER},
    "6.5": {Feature.FPROBE, Feature.TPROBE, Feature.ARGUMENTS_ALL, Feature.BTF_ARGUMENT},
    "6.6": {Feature.CPUS_FILTER},
    "6.9": {Feature.RETURN_ARGUMENT},
    "6.10": {Feature.DENTRY_NAME},
}
_FILTERS = {Feature.USTRING_FILTER, Feature.FUNCTION_FILTER, Feature.CPUS_FILTER}


def _up_to(release: str) -> set[Feature]:
    return set[Feature]().union(*list(_NEW.values())[: list(_NEW).index(release) + 1])


def _readme(name: str) -> str:
    return (_READMES / name).read_text()


@pytest.mark.parametrize("release", _NEW)
def test_a_mainline_release_has_what_came_up_to_it(release: str) -> None:
    assert features_of_release(release).present == _up_to(release)


# (id, release, the last release of the table above that it has everything of, what it has besides)
_RELEASES: tuple[tuple[str, str, str, set[Feature]], ...] = (
    ("between", "4.19", "4.17", set()),
    ("patch-level", "5.4.302", "5.4", {Feature.USER_STACK}),
    ("candidate", "7.3-rc7", "6.10", set()),
    ("not-as-text", "6.11", "6.10", set()),
    ("debian", "6.1.0-56-cloud-amd64", "5.17", set()),
    ("debian-backport", "6.12.117+deb12-cloud-amd64", "6.10", set()),
    ("fedora", "6.6.8-200.fc39.x86_64", "6.6", set()),
    ("microsoft", "5.15.167.4-microsoft-standard-WSL2", "5.15", {Feature.USTRING_FILTER}),
    ("as-tagged", "v6.5", "6.5", set()),
    ("stable-5.4-before", "5.4.82", "5.4", set()),
    ("stable-5.4-since", "5.4.83", "5.4", {Feature.USER_STACK}),
    ("stable-before", "5.10.103", "5.10", set()),
    ("stable-since", "5.10.104", "5.10", {Feature.USTRING_FILTER}),
    ("stable-of-another-series", "5.11.200", "5.10", set()),
    ("stable-6.6-before", "6.6.58", "6.6", set()),
    ("stable-6.6-since", "6.6.59", "6.6", {Feature.RETURN_ARGUMENT}),
    ("stable-7", "7.0.1", "6.10", set()),
)


@pytest.mark.parametrize(("release", "base", "besides"), [pytest.param(*rest, id=name) for name, *rest in _RELEASES])
def test_release(release: str, base: str, besides: set[Feature]) -> None:
    assert features_of_release(release).present == _up_to(base) | besides


def test_a_kernel_before_all_features() -> None:
    assert features_of_release("2.6.32").present == frozenset()


@pytest.mark.parametrize(
    "text",
    ["", "6", "6.", ".1", "six", "6.1 7.2", "6.1\n", " 6.1", "-6.1", "6..1", "Linux 6.1", "6.1234567", "\u0666.\u0661"],
)
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(SurftraceError) as caught:
        features_of_release(text)
    assert caught.value.message == f"'{text}' is not a kernel release"
    assert "6.1" in caught.value.hints[0]


@pytest.mark.parametrize(("release", "kernel"), [("5.4", "Linux 5.4"), ("v6.1.3", "Linux 6.1.3")])
def test_a_kernel_of_a_release_is_named_by_it(release: str, kernel: str) -> None:
    assert features_of_release(release).kernel == kernel


# What needs CONFIG_HIST_TRIGGERS, which Debian's 5.10 for clouds is built without.
_HISTOGRAMS = {Feature.HIST_TRIGGER, Feature.SYNTHETIC_EVENT, Feature.SYNTHETIC_STRING}
# README of tests/data/readme, from Debian's cloud kernels: (file, exact release, same as which release, but without)
_REAL: tuple[tuple[str, str, str, set[Feature]], ...] = (
    ("5.10", "5.10.262", "5.10.262", _HISTOGRAMS),
    ("6.1", "6.1.192", "6.1", set()),
    ("6.12", "6.12.117", "6.12", set()),
    ("7.3", "7.3", "7.3", set()),
)


@pytest.mark.parametrize(("name", "release", "same", "without"), _REAL)
def test_readme_of_a_real_kernel(name: str, release: str, same: str, without: set[Feature]) -> None:
    features = features_of_readme(_readme(name), release)
    assert features.present == features_of_release(same).present - without
    assert features.kernel == "this kernel"


# (id, README, release of uname, what is told of filters): README does not tell of these.
_FILTERS_BY: tuple[tuple[str, str, str, set[Feature]], ...] = (
    ("release", "5.10", "5.10.262", {Feature.USTRING_FILTER}),
    ("release-hides-its-stable-number", "5.10", "5.10.0-46-cloud-amd64", set()),
    ("an-old-kernel-with-a-new-readme", "6.12", "5.14.0-611.el9.x86_64", _FILTERS),
    ("a-new-kernel-without-much", "5.10", "6.12", _FILTERS),
    ("no-release", "6.12", "my own", _FILTERS),
    ("no-release-old", "5.10", "my own", set()),
)


@pytest.mark.parametrize(
    ("readme", "release", "expected"), [pytest.param(*rest, id=name) for name, *rest in _FILTERS_BY]
)
def test_filters_are_told_by_the_release(readme: str, release: str, expected: set[Feature]) -> None:
    assert features_of_readme(_readme(readme), release).present & _FILTERS == expected


def test_a_feature_that_a_stable_release_got_alone_tells_nothing_of_filters() -> None:
    readme = _readme("5.10") + "\t     kernel return probes support: $retval, $arg<N>, $comm\n"
    features = features_of_readme(readme, "5.10.0-46")
    assert features.has(Feature.RETURN_ARGUMENT)
    assert not features.present & _FILTERS


# What a README says depends on the configuration: (id, text that goes, features that go with it)
_CONFIGURED: tuple[tuple[str, str, set[Feature]], ...] = (
    ("without-histograms", "      hist trigger\t", {Feature.HIST_TRIGGER}),
    ("without-fprobes", "\t           f[:", {Feature.FPROBE}),
    ("without-tprobes", "\t           t[:", {Feature.TPROBE}),
    ("without-btf-arguments", "<argname>", {Feature.ARGUMENTS_ALL, Feature.BTF_ARGUMENT}),
    # CONFIG_HAVE_FUNCTION_ARG_ACCESS_API: the line on return probes names $arg<N> all the same.
    ("without-argument-access", "$comm, $arg<N>", {Feature.ARGUMENT_N}),
    ("without-an-error-log", "  error_log\t", {Feature.ERROR_LOG}),
    ("without-dynamic-events", "  dynamic_events\t", {Feature.DYNAMIC_EVENTS}),
    ("without-return-arguments", "return probes support", {Feature.RETURN_ARGUMENT}),
    ("without-dentry-names", "%pd/%pD", {Feature.DENTRY_NAME}),
    ("without-characters", "char, ", {Feature.CHAR}),
    ("without-eprobes", "\t           e[:", {Feature.EPROBE}),
)


@pytest.mark.parametrize(("text", "gone"), [pytest.param(*rest, id=name) for name, *rest in _CONFIGURED])
def test_readme_of_another_configuration(text: str, gone: set[Feature]) -> None:
    readme = _readme("6.12")
    assert readme.count(text) == 1
    assert features_of_readme(readme.replace(text, ""), "6.12").present == ALL_FEATURES.present - gone


@pytest.mark.parametrize("release", ["6.1.192", "4.19"])
def test_without_a_readme_the_release_tells(release: str) -> None:
    assert features_of_readme(None, release) == Features(features_of_release(release).present, "this kernel")


def test_without_a_readme_and_a_release_nothing_is_refused() -> None:
    assert features_of_readme(None, "my own") == ALL_FEATURES


# (id, uname's release, uname's version, expected)
_UNAMES = (
    ("debian", "5.10.0-46-cloud-amd64", "#1 SMP Debian 5.10.262-1 (2026-07-31)", "5.10.262"),
    ("debian-candidate", "7.3-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 7.3~rc7-1~exp1 (2026-10-16)", "7.3"),
    ("fedora", "6.6.8-200.fc39.x86_64", "#1 SMP PREEMPT_DYNAMIC Thu Dec 21 04:01:49 UTC 2023", "6.6.8-200.fc39.x86_64"),
    ("nothing", "6.1.0", "", "6.1.0"),
)


@pytest.mark.parametrize(("release", "version", "expected"), [pytest.param(*rest, id=name) for name, *rest in _UNAMES])
def test_exact_release(release: str, version: str, expected: str) -> None:
    assert exact_release(release, version) == expected


@pytest.mark.parametrize("feature", Feature, ids=[feature.name for feature in Feature])
def test_a_feature_is_described(feature: Feature) -> None:
    assert feature.words[0].islower()
    assert not feature.words.endswith(".")
    assert feature in _NEW[feature.since]


def test_features_are_listed_in_the_order_of_their_releases() -> None:
    releases = [tuple(map(int, feature.since.split("."))) for feature in Feature]
    assert releases == sorted(releases)


def test_has() -> None:
    assert ALL_FEATURES.has(Feature.EPROBE)
    assert not features_of_release("5.10").has(Feature.EPROBE)
