"""Text: read, cut into tokens and numbered, whole or as it is typed; NumPy and the standard library only.

Subwords need the library `tokenizers`, imported when they are used.
"""

from recurra.data.text.normal import Arriving, normal
from recurra.data.text.reading import Texts, are_texts, read_texts
from recurra.data.text.symbols import Symbols, Tokens
from recurra.data.text.tokens import Characters, LiveTokens, Subwords, Tokenizer, Words, tokenizer_of
from recurra.data.text.vocabulary import UNKNOWN, Vocabulary

__all__ = [
    "UNKNOWN",
    "Arriving",
    "Characters",
    "LiveTokens",
    "Subwords",
    "Symbols",
    "Texts",
    "Tokenizer",
    "Tokens",
    "Vocabulary",
    "Words",
    "are_texts",
    "normal",
    "read_texts",
    "tokenizer_of",
]
