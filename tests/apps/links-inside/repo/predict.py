import words


def predict():
    return words.WORD
