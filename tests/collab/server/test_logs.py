"""Nobody forges a line of the log."""

import io
import logging

from collab.server.logs import OneLine, escaped


def test_control_characters_are_escaped() -> None:
    assert escaped("a\r\nb\x1b[2J\x85\u2028é") == "a\\x0d\\x0ab\\x1b[2J\\x85\\u2028é"


def test_a_record_is_one_line_and_the_lines_of_a_traceback_are_indented() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    log.info("GET /%s", "\r\nINFO forged")
    try:
        raise ValueError("\nINFO forged")
    except ValueError:
        log.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "INFO GET /\\x0d\\x0aINFO forged"
    assert lines[1] == "ERROR failed"
    assert all(line.startswith("  ") for line in lines[2:])
