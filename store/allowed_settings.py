"""The settings that a statement may carry, and the formats it may ask for or bring.

None of them carries SQL, a name of a table or a path: the engine has such settings, and lets some
be changed even under ``readonly=1`` (`select`, `filter`, `database`, ...). Clients send some that
mean nothing here; those are taken and dropped.
"""

from collections.abc import Mapping
from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VALUE_CHARACTERS_MAX: Final = 64
"""Longest value of a setting; a delimiter of 60 KB on a million rows would be a bomb."""

CLAMPED: Final[Mapping[str, str]] = {
    "max_execution_time": "seconds_max",
    "max_memory_usage": "memory_bytes_max",
    "max_result_rows": "result_rows_max",
    "max_result_bytes": "result_bytes_max",
    "max_threads": "threads_max",
    "max_block_size": "block_rows_max",
}
"""Limits that may be asked for, within those of `store.gate.Limits`; setting -> its field."""

KEPT: Final = _names("""
    cast_string_to_date_time_mode cast_string_to_dynamic_use_inference cast_keep_nullable
    cast_string_to_variant_use_inference date_time_input_format date_time_output_format
    extremes final group_by_use_nulls join_use_nulls limit offset max_block_size
    prefer_column_name_to_alias session_timezone union_default_mode use_client_time_zone
    aggregate_functions_null_for_empty transform_null_in any_join_distinct_right_table_keys
     enable_positional_arguments count_distinct_implementation
    format_csv_delimiter format_csv_allow_single_quotes format_csv_allow_double_quotes
    format_csv_null_representation format_tsv_null_representation
    format_custom_escaping_rule format_custom_field_delimiter format_custom_result_after_delimiter
    format_custom_result_before_delimiter format_custom_row_after_delimiter
    format_custom_row_before_delimiter format_custom_row_between_delimiter
    output_format_always_write_decimal_point_in_float_and_decimal
    output_format_arrow_compression_method output_format_arrow_fixed_string_as_fixed_byte_array
    output_format_arrow_low_cardinality_as_dictionary output_format_arrow_string_as_string
    output_format_arrow_use_64_bit_indexes_for_dictionary
    output_format_arrow_use_signed_indexes_for_dictionary
    output_format_avro_codec output_format_avro_sync_interval
    output_format_binary_encode_types_in_binary_format output_format_binary_write_json_as_string
    output_format_bson_string_as_string output_format_compression_level
    output_format_csv_crlf_end_of_line output_format_csv_serialize_tuple_into_separate_columns
    output_format_decimal_trailing_zeros output_format_float_precision
    output_format_json_array_of_rows output_format_json_escape_forward_slashes
    output_format_json_map_as_array_of_tuples output_format_json_named_tuples_as_objects
    output_format_json_pretty_print output_format_json_quote_64bit_floats
    output_format_json_quote_64bit_integers output_format_json_quote_decimals
    output_format_json_quote_denormals output_format_json_skip_null_value_in_named_tuples
    output_format_json_validate_utf8 output_format_markdown_escape_special_characters
    output_format_msgpack_uuid_representation output_format_native_encode_types_in_binary_format
    output_format_native_use_flattened_dynamic_and_json_serialization
    output_format_native_write_json_as_string output_format_orc_compression_method
    output_format_orc_string_as_string output_format_parallel_formatting
    output_format_parquet_compliant_nested_types output_format_parquet_compression_method
    output_format_parquet_datetime_as_uint32 output_format_parquet_fixed_string_as_fixed_byte_array
    output_format_parquet_string_as_string output_format_parquet_version
    output_format_pretty_color output_format_pretty_display_footer_column_names
    output_format_pretty_grid_charset output_format_pretty_highlight_digit_groups
    output_format_pretty_max_column_pad_width output_format_pretty_max_rows
    output_format_pretty_max_value_width output_format_pretty_row_numbers
    output_format_pretty_single_large_number_tip_threshold output_format_trim_fixed_string
    output_format_tsv_crlf_end_of_line output_format_values_escape_quote_with_quote
    output_format_write_statistics
""")

DROPPED: Final = _names("""
    allow_experimental_analyzer allow_experimental_bigint_types allow_experimental_dynamic_type
    allow_experimental_json_type allow_experimental_map_type allow_experimental_object_type
    allow_experimental_variant_type allow_experimental_window_functions
    allow_suspicious_low_cardinality_types allow_suspicious_types_in_order_by async_insert
    cancel_http_readonly_queries_on_client_close connect_timeout connect_timeout_with_failover_ms
    distributed_ddl_task_timeout enable_analyzer enable_http_compression
    enable_json_type enable_dynamic_type enable_variant_type enable_time_time64_type
    http_headers_progress_interval_ms http_receive_timeout http_send_timeout
    http_max_field_value_size http_response_buffer_size idle_connection_timeout
    input_format_native_decode_types_in_binary_format insert_deduplicate insert_quorum
    interactive_delay load_balancing log_comment log_queries max_insert_block_size max_query_size
    mutations_sync network_compression_method opentelemetry_start_trace_probability
    optimize_read_in_order priority readonly receive_timeout select_sequential_consistency
    send_progress_in_http_headers send_timeout tcp_keep_alive_timeout
    timeout_before_checking_execution_speed
    timeout_overflow_mode use_query_cache wait_end_of_query wait_for_async_insert
    write_through_distributed_cache
""")

INSERTS: Final = _names("""
    insert_distributed_sync input_format_null_as_default input_format_skip_unknown_fields
    input_format_defaults_for_omitted_fields date_time_input_format session_timezone
""")
"""What an insert of the writer may carry besides `DROPPED`."""

_TEXTS: Final = _names("""
    TabSeparated TSV TabSeparatedWithNames TSVWithNames TabSeparatedWithNamesAndTypes
    TSVWithNamesAndTypes CSV CSVWithNames CSVWithNamesAndTypes JSONEachRow NDJSON JSONLines JSONL
    JSONCompactEachRow JSONCompactEachRowWithNames JSONCompactEachRowWithNamesAndTypes
""")

INPUT_FORMATS: Final = _TEXTS | _names("""
    Arrow ArrowStream Native Parquet RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes
""")
"""What rows may come in, from the writer. Not Values: it evaluates expressions."""

OUTPUT_FORMATS: Final = _TEXTS | _names("""
    TabSeparatedRaw TSVRaw Raw TabSeparatedRawWithNames TSVRawWithNames RawWithNames
    TabSeparatedRawWithNamesAndTypes TSVRawWithNamesAndTypes RawWithNamesAndTypes TSKV
    JSON JSONStrings JSONCompact JSONCompactStrings JSONColumns JSONCompactColumns
    JSONColumnsWithMetadata JSONObjectEachRow JSONStringsEachRow JSONCompactStringsEachRow
    JSONCompactStringsEachRowWithNames JSONCompactStringsEachRowWithNamesAndTypes
    JSONEachRowWithProgress JSONStringsEachRowWithProgress JSONCompactEachRowWithProgress
    JSONCompactStringsEachRowWithProgress PrettyJSONEachRow PrettyNDJSON PrettyJSONLines
    Pretty PrettyCompact PrettyCompactMonoBlock PrettyCompactNoEscapes
    PrettyCompactNoEscapesMonoBlock PrettyMonoBlock PrettyNoEscapes PrettyNoEscapesMonoBlock
    PrettySpace PrettySpaceMonoBlock PrettySpaceNoEscapes PrettySpaceNoEscapesMonoBlock
    Vertical Markdown MD XML Values SQLInsert Null LineAsString RawBLOB CustomSeparated
    CustomSeparatedWithNames CustomSeparatedWithNamesAndTypes
    Native RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes Arrow ArrowStream Parquet ORC
    Avro MsgPack BSONEachRow Npy
""")
"""Not Template and Protobuf (they read files), nor the wire formats of other databases."""
