"""The blocks of one file as outcomes: by the generated function where it is sure, else by fastavro."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from braze_etl.compile.cache import Convert, Converted
from braze_etl.compile.runtime import UnusualError
from braze_etl.currents import Block, RecordReader
from braze_etl.model import Event, Record, Verdict
from braze_etl.transform import END_OF_TIME, Mapper

_LARGE = 4 << 20
_STRETCH = 2_000


class BlockMapper:
    """Decodes and maps the blocks of one file; *horizon* is its `date=` hour in epoch seconds.

    fastavro, which `RecordReader` is, judges all that *convert* does not decide: blocks on which it raises,
    and records that it finds unclear. `ways` counts the blocks by the decoder whose result they have, and the
    unclear records.
    """

    def __init__(
        self,
        records: RecordReader,
        mapper: Mapper,
        convert: Convert | None,
        horizon: float,
        ways: Counter[str],
    ) -> None:
        self._records = records
        self._mapper = mapper
        self._convert = convert
        self._horizon = horizon
        self._latest = _latest(mapper, horizon)
        self._ways = ways

    def outcomes(self, block: Block) -> Iterable[Event | Verdict]:
        """What the block's records became; raises `DamagedBlock` before the first.

        A payload of more than 4 MB is decoded twice, the second time as the result is iterated over, so that
        memory stays flat.
        """
        if self._convert is not None:
            before = dict(self._mapper.repairs)
            try:
                outcomes = self._generated(block, self._convert)
            except Exception:  # noqa: BLE001 - whatever it was, fastavro's result is the one that counts
                self._ways["given_up"] += 1
                self._put_back(before)
            else:
                self._ways["generated"] += 1
                return outcomes
        self._ways["fastavro"] += 1
        decoded = self._records.decode(block)
        return (self._mapped(record) for record in decoded)

    def _generated(self, block: Block, convert: Convert) -> Iterable[Event | Verdict]:
        if len(block.payload) <= _LARGE:
            ((converted, unclear),) = self._stretches(block, convert, block.count)
            return self._completed(converted, unclear)
        before = dict(self._mapper.repairs)
        for _ in self._stretches(block, convert, _STRETCH):
            pass
        self._put_back(before)
        return self._lazily(block, convert)

    def _put_back(self, repairs: Mapping[str, int]) -> None:
        """Forget the repairs of what is mapped once more."""
        self._mapper.repairs.clear()
        self._mapper.repairs.update(repairs)

    def _lazily(self, block: Block, convert: Convert) -> Iterator[Event | Verdict]:
        for converted, unclear in self._stretches(block, convert, _STRETCH):
            yield from self._completed(converted, unclear)

    def _stretches(
        self, block: Block, convert: Convert, most: int
    ) -> Iterator[tuple[Converted, list[Record | Verdict]]]:
        """Up to *most* records at a time, with those that are unclear; nothing is mapped or counted yet."""
        data, text = block.payload, block.payload.decode("latin-1")
        pos, left = 0, block.count
        while left:
            count = min(most, left)
            converted = convert(data, text, pos, count, self._latest)
            unclear = [self._decoded(block, begin, end) for _, begin, end in converted[1]]
            pos, left = converted[3], left - count
            if not left and pos != len(data):
                raise UnusualError(f"{count} records end at byte {pos} of {len(data)}")
            yield converted, unclear

    def _decoded(self, block: Block, begin: int, end: int) -> Record | Verdict:
        (record,) = self._records.decode(Block(block.offset, block.size, 1, block.payload[begin:end]))
        return record

    def _completed(self, converted: Converted, unclear: list[Record | Verdict]) -> list[Event | Verdict]:
        outcomes, places, left_out, _ = converted
        self._ways["unclear"] += len(places)
        for (index, _, _), record in zip(places, unclear, strict=True):
            outcomes[index] = self._mapped(record)
        if left_out:
            self._mapper.repairs["device_id_left_out"] += left_out
        return outcomes  # type: ignore[return-value] # each None was the place of an unclear record

    def _mapped(self, record: Record | Verdict) -> Event | Verdict:
        return record if isinstance(record, Verdict) else self._mapper(record, self._horizon)


def _latest(mapper: Mapper, horizon: float) -> int:
    """The latest time in seconds that is beyond doubt."""
    bound = mapper.plan.time.max_future
    return END_OF_TIME - 1 if bound is None else min(END_OF_TIME - 1, int(horizon + bound.total_seconds()))
