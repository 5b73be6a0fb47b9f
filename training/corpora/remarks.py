"""What is worth telling about a corpus as it was read; `Rows.remarks` has the details, by column."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache

logger = logging.getLogger(__name__)

SPELLINGS = (
    "labels that differ in case, spaces or accents alone count as several: same_spelling=true makes them one in a "
    "table, label_map in any corpus"
)
REMARKS = {
    "columns left out": "to use one, name it in columns by what it is, as columns={style: its name}",
    "marks of missing values": "they count as missing: to keep one as a value, give your own list as missing=[...]",
    "numbers that are none": "a column of numbers holds something else, and is read as text",
    "votes": "cells with several labels are read as what several people said: data.votes=shares learns from all of "
    "it; where they are several emotions at once, set model.multilabel",
    "spellings": SPELLINGS,
    "votes left out": "shares are of the votes that are left: map these labels to another one to keep them",
    "channels differ": "all are mixed: data.options.channel=left, or a column channel of a table, says which is heard",
    "folders in those of classes": "a class is the uppermost folder: if it is another one, say which by an "
    "expression, as emotion=/([^/]+)/[^/]+$",
    "speakers of one name": "they count as different people in each: if they are the same, make the tables one, so "
    "that nobody is on two sides",
    "left out": "nothing is learned from these rows, and nothing judged on them",
}
"""By finding what it means, and how to mend it."""


def tell(remarks: Mapping[str, Mapping[str, str]]) -> None:
    """Logs each remark on one line, once a process, and of several processes only in the first."""
    if os.environ.get("RANK", "0") == "0":
        for finding, details in remarks.items():
            for about, detail in details.items():
                _tell_once(f"{finding}: {about}: {detail} ({REMARKS[finding]})")


@cache
def _tell_once(line: str) -> None:
    logger.warning("%s", line)
