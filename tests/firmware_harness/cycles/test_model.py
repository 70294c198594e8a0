"""The cost models against published rows: errors of rows left out, terms one by one, intervals, energy, boards."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from tinyscene.firmware_harness.build.targets import TARGETS
from tinyscene.firmware_harness.cycles.boards import (
    BOARDS,
    NRF5340,
    NRF52840,
    NUCLEO_L4R5ZI,
    board_in_results,
    board_named,
)
from tinyscene.firmware_harness.cycles.counts import Counts, field_names
from tinyscene.firmware_harness.cycles.energy import energy_error, measured_rows, picojoules_per_cycle
from tinyscene.firmware_harness.cycles.estimate import Machine, machine_of_board, machine_of_cpu
from tinyscene.firmware_harness.cycles.families import FAMILIES, family_named
from tinyscene.firmware_harness.cycles.memory import ZERO_WAIT, Memory
from tinyscene.firmware_harness.cycles.model import (
    GROUPS,
    coefficients,
    cycles,
    fit,
    left_out,
    one_constant,
    worst_error,
)
from tinyscene.firmware_harness.cycles.published import int8_rows, published_rows
from tinyscene.firmware_harness.errors import FirmwareError

BARS = {  # family: largest mean and worst error of rows left out, in percent
    "M4": (4, 10),
    "M33": (4, 10),
    "M7": (4, 10),
    "M0+": (5, 12),
}
ANY = Counts(*np.random.default_rng(0).uniform(1, 2, len(fields(Counts))))


@pytest.mark.parametrize("family", BARS)
@pytest.mark.parametrize("group", GROUPS)
def test_rows_that_the_fit_did_not_use_are_predicted_better_than_by_one_constant(family, group):
    rows = int8_rows(family)
    errors = [abs(100 * error.relative) for error in left_out(family_named(family), rows, GROUPS[group])]
    constant = [abs(100 * error.relative) for error in one_constant(rows, GROUPS[group])]
    assert len(errors) in (len(constant), len(rows))
    if errors:
        mean, worst = BARS[family]
        assert np.mean(errors) <= mean
        assert max(errors) <= worst
    if constant:
        assert np.mean(errors) < np.mean(constant)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_fit_finds_the_coefficients_that_rows_were_made_with(family):
    chosen = {term.name: 0.1 * (index + 1) for index, term in enumerate(family.fitted)}
    rows = [replace(row, cycles=cycles(family, row.counts, row.memory, chosen)) for row in published_rows()]
    assert fit(family, rows) == pytest.approx(chosen)


def test_coefficients_are_not_negative_where_published_cycles_are_below_the_rest():
    family = family_named("M4")
    rows = [replace(row, cycles=1.0) for row in int8_rows("M4")]
    assert set(fit(family, rows).values()) == {0.0}


@pytest.mark.parametrize("name", field_names())
def test_every_count_is_used_by_a_model(name):
    more = replace(ANY, **{name: getattr(ANY, name) + 1})
    memories = [Memory(kind, 5) for kind in ("art", "icache", "l1-16k", "l1-4k", "prefetch")]
    changed = [
        cycles(family, more, memory) != cycles(family, ANY, memory)
        for family in FAMILIES.values()
        for memory in memories
    ]
    assert any(changed) or name == "float_instructions"  # which widens the interval


def test_documented_timings_of_cortex_m4():
    assert cycles(family_named("M4"), Counts(instructions=3, single_loads=2, loads_after_load=1), ZERO_WAIT) == 4
    multiple = Counts(instructions=1, load_multiples=1, load_multiple_registers=4)
    assert cycles(family_named("M4"), multiple, ZERO_WAIT) == 5
    assert cycles(family_named("M33"), multiple, ZERO_WAIT) == 4
    assert cycles(family_named("M0+"), multiple, ZERO_WAIT) == 5
    assert cycles(family_named("M0+"), Counts(instructions=1, taken_branches=1, calls=1), ZERO_WAIT) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_wait_states_cost_nothing_without_misses_and_more_with_each(family):
    kind = int8_rows(family)[0].memory.kind if int8_rows(family) else "art"
    slower, faster = (cycles(family_named(family), ANY, Memory(kind, ws)) for ws in (5, 2))
    assert slower > faster > cycles(family_named(family), ANY, ZERO_WAIT)


def test_documented_timings_of_cortex_m3_and_m55():
    counts = Counts(instructions=4, vector_instructions=4, vector_overlaps=2, taken_branches=1, loop_ends=1)
    assert cycles(family_named("M55"), counts, ZERO_WAIT) == 6
    assert cycles(family_named("M3"), Counts(instructions=2, multiply_adds=1, long_multiplies=1), ZERO_WAIT) == 6


def test_an_interval_contains_every_published_row():
    for row in published_rows():
        if row.dtype == "int8":
            interval = Machine(family_named(row.cpu), row.memory).cycles(row.counts)
            assert interval.low <= row.cycles <= interval.high


def test_float_code_and_unvalidated_memory_widen_the_interval():
    counts = int8_rows("M4")[0].counts
    known, unknown = (machine_of_board(board).cycles(counts) for board in (NUCLEO_L4R5ZI, NRF52840))
    assert unknown.low / unknown.value < known.low / known.value
    with_float = machine_of_board(NUCLEO_L4R5ZI).cycles(replace(counts, float_instructions=counts.instructions / 2))
    assert with_float.high > known.high
    assert with_float.value == known.value
    assert machine_of_cpu("M3").cycles(counts).high / machine_of_cpu("M3").cycles(counts).value > 1 + worst_error()


def test_energy_of_a_board_is_that_of_its_rows():
    boards = {row.chip for row in measured_rows()}
    assert boards == {"nucleo-l4r5zi", "nucleo-u575zi", "nucleo-h7a3zi"}
    for name in boards:
        constant = picojoules_per_cycle([row for row in measured_rows() if row.chip == name])
        assert board_named(name).picojoules_per_cycle.value == round(constant)
    assert energy_error() <= 0.12


def test_milliseconds_and_microjoules_follow_from_clock_and_energy_per_cycle():
    machine = machine_of_board(NUCLEO_L4R5ZI)
    interval = machine.cycles(int8_rows("M4")[0].counts)
    assert machine.milliseconds(interval).value == pytest.approx(interval.value / 120e3)
    energy = machine.microjoules(interval)
    assert energy.value == pytest.approx(interval.value * 342e-6)
    assert energy.low / energy.value < interval.low / interval.value


def test_unknown_numbers_are_refused_or_missing():
    with pytest.raises(
        FirmwareError, match=r"cycles on nrf5340-dk: wait states of flash are unknown .*; next: use --cpu"
    ):
        machine_of_board(NRF5340)
    machine = machine_of_board(NRF52840)
    assert machine.microjoules(machine.cycles(ANY)) is None
    assert any("energy is unknown" in text for text in machine.cautions(ANY))
    with pytest.raises(FirmwareError, match="cycles of M85: no cost model"):
        machine_of_cpu("M85")
    with pytest.raises(FirmwareError, match="board: unknown; expected nucleo-l4r5zi or"):
        board_named("toaster")


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_number_of_a_board_has_a_source_and_its_target_exists(board):
    sourced = (board.mhz, board.wait_states, board.picojoules_per_cycle, board.ram_bytes, board.flash_bytes)
    assert all(each.source for each in sourced)
    assert board.target in TARGETS
    assert board_named(board.name.upper()) is board


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ("NUCLEO_L4R5ZI_int8_max_performance", "nucleo-l4r5zi"),
        ("NUCLEO-L4R5ZI-P", "nucleo-l4r5zi-p"),
        ("NUCLEO_U575ZI_Q", "nucleo-u575zi"),
        ("DISCO_F746NG", "disco-f746ng"),
        ("nRF5340DK", "nrf5340-dk"),
    ],
)
def test_names_in_published_results_find_their_board(published, name):
    assert board_in_results(published).name == name


def test_a_board_without_a_record_has_none():
    assert board_in_results("CY8CPROTO_062_4343W") is None


def test_the_constants_fitted_to_all_rows_are_those_of_the_shipped_table():
    assert coefficients("M4") == fit(family_named("M4"), [r for r in published_rows() if r.cpu == "M4"])
