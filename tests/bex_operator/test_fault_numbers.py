"""Every fault that the operator is held to, by its number, has a test; this is where to find it."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTS = "integration/test_operator_faults.py"
CACHES = "integration/test_kube_caches.py"
APPS = "integration/test_operator_app_faults.py"
SERVER = "integration/test_operator_server_faults.py"
LEADERS = "integration/test_operator_leaders.py"
PROCESS = "integration/test_operator_process.py"

WHERE: dict[int, tuple[str, str]] = {
    **dict.fromkeys((1, 2, 3, 4, 5), (FAULTS, "test_death_after_every_write")),
    # Every watch of a life ends after a second there.
    6: (FAULTS, "test_life_without_faults_ends_with_nothing"),
    7: (CACHES, "test_reset_watch_goes_on_where_it_was"),
    8: (CACHES, "test_silent_watch_is_given_up"),
    9: (CACHES, "test_expired_event_in_a_watch_lists_again"),
    10: (SERVER, "test_fault_10_watch_that_tells_only_bookmarks_is_not_trusted_for_ever"),
    11: (FAULTS, "test_watches_break_again_and_again"),
    12: (APPS, "test_fault_12_object_of_the_name_is_never_adopted"),
    13: (SERVER, "test_fault_13_status_that_conflicts_again_and_again_comes_in_the_end"),
    14: ("integration/test_kube_client.py", "test_busy_server_is_asked_again"),
    15: (FAULTS, "test_every_write_is_refused_once"),
    16: (CACHES, "test_garbled_line_is_survived"),
    17: (SERVER, "test_fault_17_restored_server_is_believed"),
    18: (SERVER, "test_fault_18_right_lost_for_one_kind_harms_nothing_else"),
    19: ("integration/test_kube_leases.py", "test_fault_19_clocks_that_jump_move_no_lease"),
    20: (FAULTS, "test_two_leaders_are_harmless"),
    21: (PROCESS, "test_sigterm_hands_over"),
    22: (PROCESS, "test_poisoned_app_delays_nobody"),
    # A rush of thousands is measured, by `python -m bench.operator flood`; this comes on top.
    23: (PROCESS, "test_killed_operator_picks_up_where_it_was"),
    24: (APPS, "test_fault_24_many_edits_at_once_are_one_release"),
    25: (APPS, "test_fault_25_edited_child_is_put_right"),
    26: (APPS, "test_fault_26_child_deleted_slowly_is_made_anew"),
    27: (APPS, "test_fault_27_namespace_that_ends_is_no_failure"),
    28: (
        "integration/test_build_orders.py",
        "test_fault_28_app_deleted_while_it_is_built_leaves_nothing",
    ),
    29: (APPS, "test_fault_29_autoscaler_is_not_fought"),
    30: (SERVER, "test_fault_30_required_field_that_came_later_stops_no_app"),
    31: (APPS, "test_fault_31_number_out_of_bounds_is_refused"),
    32: (APPS, "test_fault_32_object_as_large_as_can_be"),
    33: (APPS, "test_fault_33_image_that_is_none_is_refused"),
    34: (APPS, "test_fault_34_odd_objects_are_refused_or_read_as_meant"),
    35: (APPS, "test_fault_35_refused_pods_are_told_of"),
    36: (SERVER, "test_fault_36_server_without_the_status_of_apps_is_told_apart"),
    37: (PROCESS, "test_fault_37_one_killed_while_it_learns_what_there_is_harms_nobody"),
}


AND: dict[int, tuple[tuple[str, str], ...]] = {
    # In the middle of a watch, and when one begins.
    9: (
        (CACHES, "test_forgotten_version_lists_again"),
        (FAULTS, "test_questions_are_not_answered"),
    ),
    11: ((CACHES, "test_deleted_and_made_anew_is_another_object"),),
    16: ((CACHES, "test_large_object_passes"),),
    18: (("integration/test_kube_client.py", "test_token_file_is_read_again"),),
    20: (
        (LEADERS, "test_writes_of_a_leader_that_is_behind_change_nothing"),
        (LEADERS, "test_leader_that_was_stopped_for_long_writes_nothing"),
        (FAULTS, "test_write_of_a_former_leader_that_comes_late_is_harmless"),
    ),
    31: (
        (APPS, "test_fault_31_name_decides_what_children_can_be_called"),
        (APPS, "test_fault_31_app_with_the_longest_name_gets_all_its_children"),
    ),
}
"""Further tests of faults that have several sides."""


def test_no_number_is_left_out() -> None:
    """From the first to the last."""
    assert sorted(WHERE) == list(range(1, 38))


@pytest.mark.parametrize("number", WHERE)
def test_fault_has_its_test(number: int) -> None:
    """It is where the table says."""
    for path, name in (WHERE[number], *AND.get(number, ())):
        functions = ast.parse((TESTS / path).read_text()).body

        assert name in {each.name for each in functions if isinstance(each, ast.AsyncFunctionDef)}
