def predict(name: str, times: int = 1) -> dict[str, str]:
    return {"greeting": ", ".join([f"hello {name}"] * times)}
