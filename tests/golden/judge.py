"""Quadratic kappa of two tries for tests/unit/test_judge.c, by scikit-learn: python judge.py"""
from sklearn.metrics import cohen_kappa_score

for x, y in (
    ([1, 2, 3, 10, 7, 7, 5, 4, 9, 1], [1, 3, 3, 9, 7, 6, 5, 6, 10, 2]),
    ([1, 10, 1, 10], [10, 1, 10, 1]),
    ([2, 2, 3], [2, 3, 3]),
):
    print(x, y, repr(float(cohen_kappa_score(x, y, weights="quadratic", labels=range(1, 11)))))
