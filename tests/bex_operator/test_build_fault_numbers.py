"""Every fault and hostile input that builds are held to, by its number, and its test."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CLONE = "integration/test_build_steps.py"
HOSTILE = "integration/test_build_hostile_sources.py"
STEPS = "integration/test_build_hostile_steps.py"
RESOLVE = "integration/test_build_resolve.py"
PUSH = "integration/test_build_push.py"
BUILDS = "integration/test_builds.py"
FAULTS = "integration/test_build_faults.py"
CRASHES = "integration/test_build_crashes.py"
COLLECTION = "integration/test_registry_collection.py"

WHERE: dict[tuple[int, str], tuple[str, str]] = {
    (77, "URLs"): (CLONE, "test_url_that_is_no_plain_https_is_refused"),
    (77, "URLs in an App"): ("integration/test_crd.py", "test_model_and_api_server_agree"),
    (77, "credentials in a URL are not printed"): (
        CLONE,
        "test_url_that_is_no_plain_https_is_refused",
    ),
    (77, "refs in an order"): (
        "bex_operator/plan/test_builds.py",
        "test_ref_that_is_none_asks_for_nothing",
    ),
    (77, "refs in a step"): (CLONE, "test_only_a_whole_commit_is_cloned"),
    (77, "folders by their path and by links"): (
        HOSTILE,
        "test_folder_that_leads_out_of_the_source_is_refused",
    ),
    (78, "submodules"): (CLONE, "test_submodules_and_their_urls_are_left_alone"),
    (78, "hooks in a nested git folder; a link called .git"): (
        HOSTILE,
        "test_nothing_is_called_git",
    ),
    (78, "links and names out of the tree"): (
        CLONE,
        "test_what_would_leave_the_repository_is_refused",
    ),
    (78, "a pointer of LFS to an inner host"): (
        HOSTILE,
        "test_pointer_to_a_large_file_stays_a_pointer",
    ),
    (78, "gigabytes of history"): (HOSTILE, "test_history_is_not_fetched"),
    (78, "a million files"): (HOSTILE, "test_million_files_are_refused_by_their_number"),
    (78, "more bytes than fit"): (CLONE, "test_large_repositories_end_at_the_limits"),
    (79, "inner addresses, judged when they are dialled"): (
        CLONE,
        "test_inner_addresses_are_not_dialled",
    ),
    (79, "the operator's own questions"): (
        "bex_operator/test_outbound.py",
        "test_name_without_a_dialled_address_does_not_answer",
    ),
    (79, "redirects"): (HOSTILE, "test_redirect_is_not_followed"),
    (80, "foreign frontends"): (RESOLVE, "test_foreign_frontends_are_refused"),
    (80, "network of the host, more rights"): (BUILDS, "test_entitlements_are_not_given"),
    (80, "printed secrets"): (RESOLVE, "test_what_looks_like_a_secret_is_not_printed"),
    (80, "mounts of the host and of other tenants' caches"): (
        STEPS,
        "test_mounts_lead_to_nobody_elses_files",
    ),
    (80, "fork bomb and endless output"): (STEPS, "test_step_that_never_ends_harms_nobody_else"),
    (80, "endless Dockerfile"): (HOSTILE, "test_endless_dockerfile_is_refused_by_its_size"),
    (81, "killed in the middle of a push"): (PUSH, "test_killed_push_is_made_good_by_the_next"),
    (81, "killed at each step"): (FAULTS, "test_killed_step_is_run_again"),
    (81, "killed while it is resolved"): (FAULTS, "test_killed_resolve_is_run_again"),
    (81, "500 on an upload, another digest"): (
        PUSH,
        "test_upload_that_never_arrives_is_the_platforms_fault",
    ),
    (81, "upload resumed"): (
        "integration/test_registry_conformance.py",
        "test_upload_goes_on_where_it_stopped",
    ),
    (81, "the builder's disk is full"): (HOSTILE, "test_full_disk_is_the_platforms_fault"),
    (81, "the registry's disk is full"): (
        COLLECTION,
        "test_full_disk_refuses_a_push_and_a_build_before_it",
    ),
    (81, "branch moved while it is built"): (
        FAULTS,
        "test_moved_branch_and_base_change_no_release",
    ),
    (81, "operator killed at each of its writes"): (
        CRASHES,
        "test_operator_that_dies_in_a_build_loses_nothing",
    ),
    # Nothing is signed here: releases run by digest, and nobody but an App's builds can push there.
    (81, "foreign images"): (
        "integration/test_registry_credentials.py",
        "test_credential_opens_what_a_step_needs_and_nothing_else",
    ),
}


def test_no_number_is_left_out() -> None:
    """From the first to the last."""
    assert {number for number, _ in WHERE} == set(range(77, 82))


@pytest.mark.parametrize("fault", WHERE, ids=lambda fault: f"{fault[0]} {fault[1]}")
def test_fault_has_its_test(fault: tuple[int, str]) -> None:
    """It is where the table says."""
    path, name = WHERE[fault]
    functions = ast.parse((TESTS / path).read_text()).body
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)

    assert name in {each.name for each in functions if isinstance(each, kinds)}
