"""Each family is named by a test that sees its value change because of what a real peer did."""

import ast
from functools import cache
from pathlib import Path

import pytest

from gateway.consumers.text_guard import WHY
from gateway.delivery.delivery_counters import ENDS
from gateway.delivery.outgoing_counters import RESULTS
from gateway.metrics.table import FAMILIES
from gateway.scope_kinds import scope_kinds
from protocols.access.logins import Outcome
from protocols.http.server import HTTPServer
from protocols.mail.smtp.server import SMTPServer
from protocols.mail.submission import measured
from protocols.mqtt import MQTTServer
from protocols.net.connection_counters import REFUSALS

HERE = Path(__file__).parent
TESTS = HERE.parents[1]

SHOWN = {
    "test_figures": {
        "test_a_reload_that_is_refused_and_one_that_succeeds": [
            *("gateway_config_generation", "gateway_config_last_reload_successful"),
            "gateway_config_last_reload_success_timestamp_seconds",
        ],
        "test_a_certificate_that_lives_for_two_days": ["gateway_certificate_expiry_timestamp_seconds"],
    },
    "test_upstream_values": {
        "test_a_broker_that_goes_away_and_comes_back": [
            *("gateway_server_ready", "gateway_server_state_timestamp_seconds", "gateway_server_became_ready_total"),
        ],
        "test_a_mail_server_that_goes_away_and_comes_back": [
            *("gateway_mailbox_folders", "gateway_mailbox_folders_ready", "gateway_mailbox_checked_timestamp_seconds"),
        ],
        "test_mails_that_wait_in_their_folder": [
            *("gateway_mailbox_backlog_messages", "gateway_mailbox_deferred_messages"),
        ],
    },
    "test_verdict_values": {
        "test_a_request": ["gateway_runs_total"],
        "test_how_long_requests_take": ["gateway_run_duration_seconds"],
        "test_answers_to_texts_that_are_not_sent": ["gateway_sms_answers_prevented_total"],
        "test_a_client_that_leaves_before_the_response": ["gateway_in_flight"],
    },
    "test_runs": {
        "test_mqtt": [
            *("gateway_connection_events_total", "gateway_routed_messages_total"),
            *("gateway_routed_message_answers_total", "gateway_routed_message_duration_seconds"),
        ],
    },
    "test_refusal_values": {
        "test_a_command_of_a_mail_session": ["gateway_refusals_total"],
        "test_messages_beyond_their_rate": ["gateway_smtp_message_rate_refusals_total"],
        "test_mail_that_is_being_received_takes_its_room": [
            *("gateway_smtp_buffered_bytes", "gateway_smtp_buffered_limit_bytes"),
            "gateway_smtp_buffer_refusals_total",
        ],
    },
    "test_connection_values": {
        "test_a_connection_that_is_refused": [
            *("gateway_connections", "gateway_connections_accepted_total", "gateway_connections_refused_total"),
        ],
        "test_a_process_that_is_short_of_descriptors": ["gateway_accept_pauses_total", "gateway_accept_paused"],
        "test_the_end_of_a_handshake": ["gateway_tls_handshakes_total"],
        "test_each_byte_of_a_request_and_its_response": [
            *("gateway_received_bytes_total", "gateway_sent_bytes_total"),
        ],
        "test_right_and_wrong_logins": ["gateway_logins_total"],
    },
    "test_mqtt_values": {
        "test_sessions_subscriptions_and_what_waits_for_a_client_that_is_away": [
            *("gateway_mqtt_sessions", "gateway_mqtt_sessions_away", "gateway_mqtt_subscriptions"),
            "gateway_mqtt_queued_bytes",
        ],
        "test_more_than_may_wait": ["gateway_mqtt_queued_limit_bytes", "gateway_mqtt_queue_refusals_total"],
        "test_retained_messages": ["gateway_mqtt_retained_messages"],
        "test_each_packet_behind_the_first": ["gateway_mqtt_packets_received_total"],
        "test_messages_to_a_client_that_does_not_read": ["gateway_mqtt_messages_dropped_total"],
    },
    "test_store_values": {
        "test_messages_that_wait_run_and_are_dead": [
            *("gateway_store_messages", "gateway_store_oldest_message_timestamp_seconds"),
        ],
        "test_each_end_of_an_attempt": ["gateway_deliveries_total"],
        "test_how_long_an_attempt_takes": ["gateway_delivery_duration_seconds"],
        "test_each_commit_and_the_calls_in_it": ["gateway_store_commit_seconds", "gateway_store_commit_calls"],
        "test_a_disk_that_is_full": [
            *("gateway_store_available", "gateway_store_commit_failures_total"),
            *("gateway_store_disk_free_bytes", "gateway_store_disk_size_bytes"),
        ],
        "test_the_sizes_of_its_files": ["gateway_store_file_bytes"],
        "test_calls_that_wait_while_another_program_locks_the_store": [
            *("gateway_store_calls_waiting", "gateway_metrics_reader_success"),
        ],
    },
    "test_sending_values": {
        "test_mail_that_is_sent_and_mail_that_is_refused": [
            *("gateway_submission_mails_total", "gateway_outgoing_attempts_total"),
        ],
        "test_an_account_that_is_refused_and_repaired": [
            *("gateway_submission_up", "gateway_submission_state_timestamp_seconds", "gateway_outgoing_lanes_resting"),
        ],
        "test_a_message_for_a_broker_that_is_away": ["gateway_outgoing_messages"],
        "test_the_segments_of_a_text": ["gateway_sms_segments_sent_total"],
    },
    "test_thread_values": {
        "test_two_threads_for_five_requests": [
            *("gateway_threads", "gateway_threads_busy", "gateway_threads_calls_waiting"),
            "gateway_threads_wait_seconds",
        ],
        "test_a_channel_that_is_not_read_in_time": [
            *("gateway_layer_channels", "gateway_layer_unread_messages", "gateway_layer_messages_dropped_total"),
        ],
    },
    "test_layer_values": {
        "test_members_drops_and_gaps_of_a_layer_on_redis": [
            *("gateway_layer_groups", "gateway_layer_messages_missed_total"),
        ],
        "test_messages_of_a_channel_that_are_handled_and_that_fail": ["gateway_channel_messages_total"],
        "test_a_layer_that_is_cut_off": ["gateway_layer_connected", "gateway_layer_interruptions_total"],
    },
    "test_process_values": {
        "test_which_gateway_and_which_python": ["gateway_build_info"],
        "test_records_of_the_log_that_cannot_be_written": ["gateway_log_records_lost_total"],
        "test_a_handler_that_blocks_the_loop": ["gateway_loop_delay_seconds"],
        "test_the_garbage_collector": ["gateway_gc_collections_total", "gateway_gc_objects_collected_total"],
        "test_cpu_time": ["process_cpu_seconds_total"],
        "test_memory": ["process_resident_memory_bytes", "process_virtual_memory_bytes"],
        "test_descriptors": ["process_open_fds", "process_max_fds"],
        "test_when_it_began": ["process_start_time_seconds"],
    },
    "../workers/test_workers": {
        "test_a_killed_worker_is_replaced_and_no_counter_goes_back": ["gateway_workers", "gateway_worker_deaths_total"],
    },
    "../workers/test_standby_values": {
        "test_a_host_whose_server_stands_by_says_so": ["gateway_server_standby"],
    },
    "../tracing/test_collector_faults": {"*": ["gateway_tracing_spans_total"]},
}
"""By file and test. A new family needs a test, and a line here."""

LABELS = {
    "test_connection_values": [*REFUSALS, *(each.value for each in Outcome)],
    "test_refusal_values": [*HTTPServer.refusal_reasons, *MQTTServer.refusal_reasons, *SMTPServer.refusal_reasons],
    "test_store_values": [*ENDS, "waiting", "running", "dead", "database", "wal"],
    "test_sending_values": [*RESULTS, *measured.RESULTS, "waiting", "leaving", "dead"],
    "test_verdict_values": [
        *{result for name in ("websocket", "mqtt", "email", "sms") for result in scope_kinds()[name].results},
        *("client left", "302", "404", "503"),
        *WHY,
    ],
    "test_figures": ["server", "client_ca", "client", "ca"],
    "test_layer_values": ["capacity", "expiry", "failed", "full", "garbage", "handled", "relay", "unread"],
}
"""The values that a label may have, and the file that shows each. The ends of a handshake are a parameter there."""


@cache
def source(file: str) -> str:
    return (HERE / f"{file}.py").resolve().read_text()


@cache
def functions(file: str) -> frozenset[str]:
    return frozenset(each.name for each in ast.walk(ast.parse(source(file))) if isinstance(each, _FUNCTIONS))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_each_family_is_named_once() -> None:
    named = [family for tests in SHOWN.values() for families in tests.values() for family in families]
    assert len(named) == len(set(named))
    assert set(named) == FAMILIES.keys()


@pytest.mark.parametrize("file", SHOWN)
def test_the_tests_are_there_and_name_their_families(file: str) -> None:
    for test, families in SHOWN[file].items():
        assert test == "*" or test in functions(file)
        for family in families:
            assert family in source(file), family


def constants(file: str) -> set[str]:
    """Each string and each number that the file has, as a whole: ``ca`` is also a part of ``cache``."""
    tree = ast.parse(source(file))
    return {str(each.value) for each in ast.walk(tree) if isinstance(each, ast.Constant)}


@pytest.mark.parametrize("file", LABELS)
def test_each_value_of_a_label_is_in_the_file_that_shows_it(file: str) -> None:
    found = constants(file)
    if file == "test_refusal_values":
        found |= constants("test_connection_values")
    assert set(LABELS[file]) <= found
