"""Prints the effects that tests/unit/test_traits_effects.c expects: least squares within units, errors
clustered by unit, on a small panel made by the same formulas. Run: python traits.py (needs numpy)"""
import numpy as np

rows = []
for u in range(6):
    for i in range(5):
        arm, domain, words = (u + i) % 3, (u * i) % 2, 20 + 7 * ((3 * u + 5 * i) % 11)
        noise = ((u * 7 + i * 5 + arm * 3) % 9 - 4) * 0.05
        y = 0.25 * u + [0, 0.5, -0.3][arm] + 0.4 * np.log(words) + 0.2 * domain + noise
        rows.append((u, arm, domain, words, y))
rows = np.array(rows)
units = rows[:, 0]
for adjusted in (False, True):
    x = [rows[:, 1] == 1, rows[:, 1] == 2]
    if adjusted:
        x += [np.log(rows[:, 3]), rows[:, 2] != rows[0, 2]]
    x, y = np.array(x, dtype=float).T, rows[:, 4].copy()
    for u in range(6):
        x[units == u] -= x[units == u].mean(0)
        y[units == u] -= y[units == u].mean()
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    e = y - x @ beta
    meat = sum(np.outer(s, s) for s in (x[units == u].T @ e[units == u] for u in range(6)))
    se = np.sqrt(np.diag(inverse @ meat @ inverse * 6 / 5))
    print(adjusted, *("%.15g %.15g" % p for p in zip(beta[:2], se[:2])))
