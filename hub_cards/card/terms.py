"""What the terms of the corpora forbid of a model that has learned from them, and where each says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Of a corpus.

    Args:
        forbids: in words, what its terms do not allow; empty where they ask for no more than attribution.
        source: where they stand.
        dataset: its authors' own release on the Hub, `owner/name`, if there is one.
    """

    forbids: str
    source: str
    dataset: str = ""


COMMERCIAL, UNDER_ANOTHER = "commercial use", "sharing what is adapted under another licence"
TERMS = {
    "iemocap": Terms(
        "commercial use without a licence for it, and passing the corpus on",
        "https://sail.usc.edu/iemocap/iemocap_release.htm",
    ),
    "msp_podcast": Terms("commercial use without a licence for it", "https://lab-msp.com/MSP/MSP-Podcast.html"),
    "ravdess": Terms(f"{COMMERCIAL}, and {UNDER_ANOTHER}", "https://zenodo.org/records/1188976"),
    "nemo": Terms(f"{COMMERCIAL}, and {UNDER_ANOTHER}", "https://github.com/amu-cai/nEMO", "amu-cai/nEMO"),
    "tess": Terms(f"{COMMERCIAL}, and sharing what is adapted", "https://doi.org/10.5683/SP2/E8H2MF"),
    "savee": Terms("any use but research", "http://kahlan.eps.surrey.ac.uk/savee/"),
    "esd": Terms("any use but research", "https://github.com/HLTSingapore/Emotional-Speech-Data"),
    "emov_db": Terms(COMMERCIAL, "https://github.com/numediart/EmoV-DB"),
    "emovo": Terms(
        "any use but research, for which it is offered without a licence",
        "http://www.lrec-conf.org/proceedings/lrec2014/pdf/591_Paper.pdf",
    ),
    "meld": Terms(
        "sharing what is adapted from its annotations under another licence than the GPL-3.0",
        "https://github.com/declare-lab/MELD",
    ),
    "cremad": Terms("", "https://github.com/CheyneyComputerScience/CREMA-D"),
    "emodb": Terms("", "https://doi.org/10.5281/zenodo.7447302"),
    "jl_corpus": Terms("", "https://www.kaggle.com/datasets/tli725/jl-corpus"),
}
