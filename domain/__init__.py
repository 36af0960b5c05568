"""The nouns: frozen values and arithmetic. Standard library only; imports nothing else of ours."""
