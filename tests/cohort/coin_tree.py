"""Every outcome of a procedure that flips coins, each with its exact probability."""

from fractions import Fraction


class Fork:
    """A coin that follows a script, and says True first where the script ends."""

    def __init__(self, script):
        self.script, self.place, self.probability = script, 0, Fraction(1)

    def __call__(self, q):
        assert 0 < q < 1
        if self.place == len(self.script):
            self.script.append(True)
        outcome = self.script[self.place]
        self.place += 1
        self.probability *= q if outcome else 1 - q
        return outcome


def outcomes(run):
    """Yield (probability, run(coin)) for every sequence of coins that `run` can see."""
    script = []
    while True:
        coin = Fork(script)
        result = run(coin)
        yield coin.probability, result
        while script and not script[-1]:
            script.pop()
        if not script:
            return
        script[-1] = False
