def predict(numbers):
    return sum(numbers)
