"""Types of declared collections, written as source code of other languages."""
