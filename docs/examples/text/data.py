"""The first paragraphs of docstrings, as word numbers, labelled by the library they are of."""

import hashlib
import importlib
import re
from collections import Counter

import numpy as np
from sklearn.model_selection import train_test_split

from .engine import Dataset
from .recipes import Config

MODULES = {
    "numpy": ("", "fft", "linalg", "ma", "polynomial", "random", "testing"),
    "scipy": ("linalg", "ndimage", "optimize", "signal", "sparse", "special", "stats"),
    "sklearn": ("cluster", "ensemble", "linear_model", "metrics", "model_selection", "utils"),
    "keras": ("callbacks", "layers", "losses", "metrics", "ops", "optimizers", "utils"),
}
GIVEAWAYS = {*MODULES, "np", "scikit", "learn", "tensorflow", "tensor", "tensors", "array_like"}


def load(config: Config) -> Dataset:
    """Return word numbers (n, config.length) int32 and libraries (n,) int32, split 70/15/15."""
    found = {text: label for label, name in enumerate(MODULES) for text in sorted(texts(name))}
    labels = np.array(list(found.values()), "int32")
    train, rest = train_test_split(
        np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=0
    )
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    split_words = [words(text) for text in found]
    counts = Counter(word for i in train for word in split_words[i])
    vocabulary = [word for word, _ in counts.most_common(config.vocabulary)]
    numbers = encode(split_words, vocabulary, config.length)
    return Dataset(
        *((numbers[part], labels[part]) for part in (train, validation, test)),
        class_names=tuple(MODULES),
        digest=hashlib.sha256(numbers.tobytes()).hexdigest(),  # other versions, other docstrings
        preprocessing={"vocabulary": vocabulary},
    )


def texts(library: str) -> set[str]:
    """Return the docstrings of a library's public functions and classes, up to the parameters."""
    found = set()
    for name in MODULES[library]:
        module = importlib.import_module(f"{library}.{name}".rstrip("."))
        members = (vars(module)[one] for one in dir(module) if not one.startswith("_"))
        docs = (one.__doc__ for one in members if callable(one) and isinstance(one.__doc__, str))
        found |= {re.split(r"\n\s*(?:Parameters|Args|Returns|Example)", doc)[0] for doc in docs}
    return {text for text in found if len(words(text)) >= 5}


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without names that give the library away."""
    return [word for word in re.findall(r"[a-z_]{2,}", text.lower()) if word not in GIVEAWAYS]


def encode(texts: list[list[str]], vocabulary: list[str], length: int) -> np.ndarray:
    """Return the word numbers of texts, (n, length) int32: 0 fills up, 1 is any other word."""
    number = {word: i for i, word in enumerate(vocabulary, start=2)}
    numbers = np.zeros((len(texts), length), "int32")
    for row, text in zip(numbers, texts, strict=True):
        known = [number.get(word, 1) for word in text[:length]]
        row[: len(known)] = known
    return numbers
