"""Counts of one run that the cost models read: executed instructions by class, memory events, simulated cache misses.

Published images and images of our own become the same record: :func:`counts_of_row` reads the columns of a table,
:mod:`.profile` fills it from a run under QEMU. Refuses values that are not counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache

from ..errors import FirmwareError


def _count(*columns: str) -> float:
    """A field of :class:`Counts`, and the columns of a table whose sum it is."""
    default: float = field(default=0.0, metadata={"columns": columns})
    return default


@dataclass(frozen=True)
class Counts:
    """Events of one inference, all non-negative; "in a block" means without a branch between the two instructions.

    ``instructions`` includes those that an IT block skips. A load or store is *single* when it moves one value of at
    most 32 bits to or from a core register. Lines are 16 or 32 aligned bytes. Cache misses are simulated with
    least-recently-used replacement:

    * ``art_*``: STM32L4, fully associative, lines of 32 bytes; 1 KB of code, 256 B of data;
    * ``icache_*``: STM32U5, 8 KB for code and data together, two ways, lines of 16 bytes;
    * ``l1_16k_*``, ``l1_4k_*``: 16 KB or 4 KB each of code (two ways) and data (four ways), lines of 32 bytes.
    """

    instructions: float = _count("n")
    single_loads: float = _count("k_ldr")
    loads_after_load: float = _count("ldr_after_ldr")  # single load right after a single load, in a block
    load_multiples: float = _count("k_ldm", "k_pop", "k_pop_pc")
    load_multiple_registers: float = _count("ldm_regs")
    double_loads: float = _count("k_ldrd")
    store_multiples: float = _count("k_stm", "k_push")
    store_multiple_registers: float = _count("stm_regs")
    double_stores: float = _count("k_strd")
    single_stores: float = _count("k_str")
    pops_to_pc: float = _count("k_pop_pc")
    taken_branches: float = _count("taken")
    calls: float = _count("br_bl_taken")
    divisions: float = _count("k_sdiv", "k_udiv")
    float_divisions: float = _count("k_vdiv")  # and square roots
    float_multiply_adds: float = _count("k_vmac")
    float_instructions: float = _count(
        *("k_vadd", "k_vcmp", "k_vcvt", "k_vdiv", "k_vmac", "k_vmul"),  # arithmetic, without moves and loads
    )
    multiply_adds: float = _count("k_mla")  # of 32 bits
    long_multiplies: float = _count("k_mull", "k_mlal")  # results of 64 bits
    vector_instructions: float = _count()  # Helium, which no published row has
    vector_overlaps: float = _count()  # neighbours of vectors, one of which moves memory
    loop_ends: float = _count()  # taken ends of low-overhead loops
    unaligned_loads: float = _count("m_LUNAL")
    straddling: float = _count("n32_straddle")  # 32-bit instructions at an address of 2 modulo 4
    accumulations_in_a_row: float = _count("mac_chain")  # onto the result of the multiply-add right before
    load_uses: float = _count("ldr_use_next")  # result of a single load read by the next instruction
    pairs: float = _count("pairs_m7")  # neighbours that a simple dual-issue rule joins
    loads_after_store: float = _count("ld_after_st")
    flash_loads: float = _count("m_LF_N")
    flash_line_changes: float = _count("m_FL16SEQ")  # flash data loads from another 16-byte line than the last one
    art_code_misses: float = _count("m_M_ARTI")
    art_data_misses: float = _count("m_M_ARTD")
    icache_code_misses: float = _count("m_M_IC8I")
    icache_data_misses: float = _count("m_M_IC8D")
    icache_next_misses: float = _count("m_IC8D_NEXT")  # data misses in the line after the last missed one
    l1_16k_code_misses: float = _count("m_M_I16")
    l1_16k_data_misses: float = _count("m_M_D16F")  # of data in flash
    l1_4k_code_misses: float = _count("m_M_I4")
    l1_4k_data_misses: float = _count("m_M_D4F")

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in field_names()))


@cache
def field_names() -> tuple[str, ...]:
    """Names of the fields, in order."""
    return tuple(each.name for each in fields(Counts))


def column_names() -> tuple[str, ...]:
    """Columns of a table that the models need, without repetitions, each with its prefix ``c_``."""
    columns = [f"c_{name}" for each in fields(Counts) for name in each.metadata["columns"]]
    return tuple(dict.fromkeys(columns))


def counts_of_row(row: Mapping[str, str | None], where: str) -> Counts:
    """Counts of one row of a table, texts by column.

    Raises:
        FirmwareError: a value is not a non-negative number.
    """
    return Counts(
        *(sum(_number(row, f"c_{name}", where) for name in each.metadata["columns"]) for each in fields(Counts))
    )


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    text = row.get(column)
    try:
        value = float(text or 0)  # an image without an instruction of a class has no number there
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise FirmwareError(where, f"column {column}", expected="a count", got=text)
    return value
