"""stats.py OUT: trials with everything that happens (stats.jsonl) and their statistics by other programs (stats.tsv).

Rankings by survival::coxph (strata: trials; the exploded logit is its partial likelihood), mixed models by lme4,
Tobit by survival::survreg, cumulative logit by 100-point Gauss-Hermite quadrature with derivatives by complex steps
(ordinal::clmm gives the same to the 1e-5 at which it stops), Bradley-Terry and pairs by statsmodels, Kendall by scipy,
kappa by scikit-learn. Robust errors of coxph and survreg lack the factor G / (G - 1), which is put on here.
Also mixed.tsv: Dyestuff, Penicillin, Pastes of lme4 with its REML fits.
Needs numpy pandas scipy statsmodels scikit-learn, and Rscript with lme4, survival."""
import csv, itertools, json, os, subprocess, sys, tempfile
import numpy as np, pandas as pd, statsmodels.api as sm
from scipy.stats import kendalltau
from sklearn.metrics import cohen_kappa_score

out = sys.argv[1]
people, seed, shared = 16, 7, False
for a in sys.argv[2:]:
    k, v = a.split("=")
    if k == "people": people = int(v)
    if k == "seed": seed = int(v)
    if k == "shared": shared = v == "1"
R = np.random.default_rng(seed)
ARMS = ["base", "dpft", "ppft", "prompt", "zeta"]
TH = dict(base=0, dpft=.8, ppft=.95, prompt=.15, zeta=-.3)
DOMAINS = ["unguided", "values", "wellbeing"]


def slider(v): return float(np.clip(round(v / 4) * 4, 0, 100))


def one(source, i, d, u, uw):
    n = int(R.choice([4, 4, 4, 3]))
    arms = [str(a) for a in R.permutation(ARMS)[:n]]
    pos = "ABCD"[:n]
    ln = {p: int(np.clip(R.normal(40 + 20 * (m in ("dpft", "ppft")), 15), 3, 120)) for p, m in zip(pos, arms)}
    err = {p: None if R.random() > .15 else "length" for p in pos}
    v = R.normal(0, 4)
    util = {p: TH[m] + .02 * ln[p] + .3 * (p == "D") - .5 * (err[p] is not None) + R.gumbel() for p, m in zip(pos, arms)}
    rank = sorted(pos, key=lambda p: -util[p])
    rank2 = sorted(pos, key=lambda p: -util[p] + R.normal(0, 1))
    vas = {k: {p: slider(45 + 8 * TH[m] + u[k] + v + R.normal(0, 10)) if R.random() > .05 else None for p, m in zip(pos, arms)}
           for k in u}
    wtp = {p: float(np.clip(round(2 + TH[m] + uw + R.normal(0, 2.5), 1), 0, 10)) if R.random() > .05 else None for p, m in zip(pos, arms)}
    turns = [dict(n=t, to=pos if t == 0 else str(R.choice(list(pos))), user=str(R.choice(["what do you think?", "thanks, that is great", "no, that is wrong", "tell me of bees and honey", "why"])),
                  answers={p: "é" * 2 + "a" * (ln[p] - 2) for p in pos}) for t in range(int(R.integers(1, 4)))]
    return dict(trial=f"t{d}" if shared else f"{source[0]}{i}-{d}", person=f"user{i}", source=source, domain=DOMAINS[d], split="seen",
                slots=[dict(pos=p, arm=m, error=err[p]) for p, m in zip(pos, arms)], turns=turns,
                opening=dict(best=rank[0], provenance=rank2[0]),
                rank=dict(preference=rank if R.random() > .05 else None, provenance=rank2), vas=vas, wtp=wtp, bdm=dict(price=1.5))


T = []
for source in ("human", "judge"):
    for i in range(people):
        u = {m: R.normal(0, 6) for m in ("preference", "engaging", "provenance")}
        uw = R.normal(0, 1.2)
        for d in range(3):
            if R.random() > .1: T.append(one(source, i, d, u, uw))
with open(out + "/stats.jsonl", "w") as f:
    for t in T: f.write(json.dumps(t, ensure_ascii=False) + "\n")

ROWS = []
def add(outcome, model, term, est, se=np.nan, source="human"): ROWS.append((outcome, model, term, source, float(est), float(se)))

rows = []
for t in T:
    for s in t["slots"]:
        p = s["pos"]
        r = {q: (t["rank"][q].index(p) + 1 if t["rank"][q] else np.nan) for q in t["rank"]}
        rows.append(dict(source=t["source"], person=t["person"], trial=t["trial"], domain=t["domain"], pos=p, arm=s["arm"],
                         err=int(s["error"] is not None), len=np.mean([len(x["answers"][p]) for x in t["turns"]]),
                         n=len(t["slots"]), rp=r["preference"], rv=r["provenance"], best=int(t["opening"]["best"] == p),
                         vp=t["vas"]["preference"][p], ve=t["vas"]["engaging"][p], vv=t["vas"]["provenance"][p], w=t["wtp"][p]))
D = pd.DataFrame(rows)
tmp = tempfile.mkdtemp()
D.to_csv(tmp + "/d.csv", index=False)
SCRIPT = r'''
suppressMessages({library(lme4); library(survival)})
all <- read.csv("d.csv"); out <- file("r.tsv", "w")
say <- function(o, m, t, s, e, se) cat(o, m, t, s, sprintf("%.15g", e), sprintf("%.15g", se), sep = "\t", file = out, append = TRUE)
put <- function(o, m, t, s, e, se) { say(o, m, t, s, e, se); cat("\n", file = out) }
name <- function(k) { k <- sub("^arm", "", k); k <- sub("^domain", "domain:", k); k <- sub("^pos", "pos:", k); k <- sub("^err$", "error", k); sub("^I\\(len/100\\)$", "length/100", k) }
for (s in unique(all$source)) {
  d <- all[all$source == s, ]
  d$arm <- relevel(factor(d$arm), "base"); d$domain <- factor(d$domain); d$pos <- factor(d$pos); d$key <- factor(paste(d$trial, d$person))
  for (q in list(c("rp", "rank:preference"), c("rv", "rank:provenance"))) {
    e <- d[!is.na(d[[q[1]]]), ]; e$r <- e[[q[1]]]
    for (m in list(list("plackett_luce", Surv(r, rep(1, length(r))) ~ arm), list("rank_logit_length", Surv(r, rep(1, length(r))) ~ arm + I(len/100) + pos + err))) {
      f <- coxph(update(m[[2]], . ~ . + strata(key)), data = e, cluster = person, control = coxph.control(eps = 1e-14, iter.max = 50))
      g <- length(unique(e$person)); v <- sqrt(diag(vcov(f)) * g / (g - 1))
      for (k in names(coef(f))) put(q[2], m[[1]], name(k), s, coef(f)[k], v[k])
    }
  }
  f <- clogit(best ~ arm + strata(key), data = d, cluster = person, method = "efron", control = coxph.control(eps = 1e-14))
  g <- length(unique(d$person)); v <- sqrt(diag(vcov(f)) * g / (g - 1))
  for (k in names(coef(f))) put("opening:best", "plackett_luce", name(k), s, coef(f)[k], v[k])
  for (q in list(c("vp", "vas:preference"), c("ve", "vas:engaging"), c("vv", "vas:provenance"), c("w", "wtp"))) {
    e <- d[!is.na(d[[q[1]]]), ]; e$y <- e[[q[1]]]
    f <- lmer(y ~ arm + domain + pos + err + (1 | person) + (1 | trial), data = e, REML = TRUE,
              control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
    co <- summary(f)$coefficients
    for (k in rownames(co)[-1]) put(q[2], "lmm", name(k), s, co[k, 1], co[k, 2])
    vc <- as.data.frame(VarCorr(f))
    for (i in 1:3) put(q[2], "lmm", paste0("sd:", tolower(vc$grp[i])), s, vc$sdcor[i], NA)
    if (q[1] == "w") {
      f <- survreg(Surv(ifelse(y <= 0, -Inf, y), ifelse(y >= 10, Inf, y), type = "interval2") ~ arm + domain + pos + err, data = e, dist = "gaussian",
                   cluster = person, control = survreg.control(rel.tolerance = 1e-14, maxiter = 100))
      g <- length(unique(e$person)); v <- sqrt(diag(vcov(f)) * g / (g - 1))
      for (k in names(coef(f))[-1]) put("wtp", "tobit", name(k), s, coef(f)[k], v[k])
      put("wtp", "tobit", "sd:residual", s, f$scale, f$scale * v["Log(scale)"])
    }
  }
}
close(out)
m <- file("mixed.tsv", "w")
emit <- function(nm, d, y, a, b, f) {
  vc <- as.data.frame(VarCorr(f)); co <- summary(f)$coefficients
  sd <- function(g) { i <- which(vc$grp == g); if (length(i)) sprintf("%.12g", vc$sdcor[i]) else "0" }
  cat("#", nm, nrow(d), sprintf("%.12g", co[1, 1]), sprintf("%.12g", co[1, 2]), sd(a), sd(b), sd("Residual"), sprintf("%.12g", REMLcrit(f)), "\n", sep = "\t", file = m)
  for (i in seq_len(nrow(d))) cat(d[[y]][i], as.integer(factor(d[[a]]))[i] - 1, if (is.na(b)) -1 else as.integer(factor(d[[b]]))[i] - 1, sep = "\t", file = m, "\n")
}
ctl <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12))
emit("Dyestuff", Dyestuff, "Yield", "Batch", NA, lmer(Yield ~ 1 + (1 | Batch), Dyestuff, control = ctl))
emit("Dyestuff2", Dyestuff2, "Yield", "Batch", NA, suppressMessages(lmer(Yield ~ 1 + (1 | Batch), Dyestuff2, control = ctl)))
emit("Penicillin", Penicillin, "diameter", "plate", "sample", lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, control = ctl))
emit("Pastes", Pastes, "strength", "sample", "batch", lmer(strength ~ 1 + (1 | sample) + (1 | batch), Pastes, control = ctl))
close(m)
'''
open(tmp + "/s.R", "w").write(SCRIPT)
subprocess.run(["Rscript", "s.R"], cwd=tmp, check=True)
for line in open(tmp + "/r.tsv"):
    o, m, t, s, e, se = line.rstrip("\n").split("\t")
    ROWS.append((o, m, t, s, float(e), float("nan") if se == "NA" else float(se)))
os.replace(tmp + "/mixed.tsv", out + "/mixed.tsv")



def cumulative_logit(d, y):
    d = d[~d[y].isna()]
    cats, c = np.unique(d[y].to_numpy(float), return_inverse=True)
    X, names = [], []
    for col, key in (("arm", ""), ("domain", "domain:"), ("pos", "pos:")):
        levels = sorted(d[col].unique())
        if col == "arm": levels.remove("base"); levels.insert(0, "base")
        for v in levels[1:]: X.append((d[col] == v).to_numpy(float)); names.append(key + v)
    X.append(d["err"].to_numpy(float)); names.append("error")
    X = np.array(X).T; who = pd.factorize(d["person"].to_numpy(str))[0]; k = len(cats) - 1; p = X.shape[1]
    node, w = np.polynomial.hermite.hermgauss(100)
    F = lambda z: 1 / (1 + np.exp(-z))
    def ll(th):
        tau, eta = th[:k], X @ th[k:k + p]
        e = eta[:, None] + np.exp(th[-1]) * np.sqrt(2) * node[None, :]
        hi = np.where((c < k)[:, None], F(tau[np.minimum(c, k - 1)][:, None] - e), 1)
        lo = np.where((c > 0)[:, None], F(tau[np.maximum(c - 1, 0)][:, None] - e), 0)
        L = np.zeros((who.max() + 1, 100), complex)
        np.add.at(L, who, np.log(hi - lo))
        top = L.real.max(1, keepdims=True)
        return (np.log((np.exp(L - top) * w).sum(1) / np.sqrt(np.pi)) + top[:, 0]).sum()
    share = np.cumsum(np.bincount(c))[:-1] / len(c)
    th = np.r_[np.log(share / (1 - share)), np.zeros(p), np.log(.7)]
    n = len(th)
    grad = lambda t: np.array([ll(t + 1e-30j * np.eye(n)[j]).imag / 1e-30 for j in range(n)])
    curve = lambda t: np.array([(grad(t + 1e-5 * v) - grad(t - 1e-5 * v)) / 2e-5 for v in np.eye(n)])
    for i in range(60):
        g = grad(th)
        if i in (0, 2, 4, 8): Hm = curve(th); Hm = (Hm + Hm.T) / 2
        step = np.linalg.solve(Hm, g); t = 1
        while not ll(th - t * step).real >= ll(th).real - 1e-9: t /= 2
        th = th - t * step
        if abs(step).max() < 1e-9: break
    assert abs(step).max() < 1e-7
    Hm = curve(th)
    se = np.sqrt(np.diag(np.linalg.inv(-(Hm + Hm.T) / 2)))
    return {**{names[j]: (th[k + j], se[k + j]) for j in range(p)}, "sd:person": (np.exp(th[-1]), np.nan)}


for s in ("human", "judge"):
    for y, o in (("vp", "vas:preference"), ("ve", "vas:engaging"), ("vv", "vas:provenance")):
        for k, (e, se) in cumulative_logit(D[D.source == s], y).items(): add(o, "cumulative_logit", k, e, se, s)

H = [t for t in T if t["source"] == "human"]
arm = lambda t: {s["pos"]: s["arm"] for s in t["slots"]}
for q in ("preference", "provenance"):
    cell = {}
    pairs, sign, who = [], [], []
    for t in H:
        if not t["rank"][q]: continue
        r = [arm(t)[p] for p in t["rank"][q]]
        for a, b in itertools.combinations(r, 2):
            cell.setdefault((a, b), []).append((1, t["person"]))
            cell.setdefault((b, a), []).append((0, t["person"]))
            x = np.zeros(4)
            if a != "base": x[ARMS.index(a) - 1] += 1
            if b != "base": x[ARMS.index(b) - 1] -= 1
            pairs.append(x); who.append(t["person"])
    for (a, b), v in sorted(cell.items()):
        y = np.array([x for x, _ in v], float)
        g = pd.factorize(np.array([p for _, p in v]))[0]
        f = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds=dict(groups=g))
        add(f"rank:{q}", "win_rate", f"{a}>{b}", f.params[0], f.bse[0])
    # Bradley-Terry: every pair once as it is and once turned round, weight a half, is the logit without intercept.
    X = np.array(pairs); g = pd.factorize(np.array(who))[0]
    beta = np.zeros(4)
    for _ in range(50):
        p = 1 / (1 + np.exp(-X @ beta)); H_ = (X * (p * (1 - p))[:, None]).T @ X; s = X.T @ (1 - p); beta += np.linalg.solve(H_, s)
    p = 1 / (1 + np.exp(-X @ beta)); S = X * (1 - p)[:, None]; G = np.array([S[g == k].sum(0) for k in range(g.max() + 1)])
    Hi = np.linalg.inv((X * (p * (1 - p))[:, None]).T @ X); V = Hi @ G.T @ G @ Hi * len(G) / (len(G) - 1)
    for k, a in enumerate(ARMS[1:]): add(f"rank:{q}", "bradley_terry", a, beta[k], V[k, k] ** .5)
    tau, top, ks, kr = [], [], [], []
    for t in H:
        v = t["vas"][q]
        if not t["rank"][q] or any(x is None for x in v.values()): continue
        ps = list(v); x = [v[p] for p in ps]; r = [t["rank"][q].index(p) + 1 for p in ps]
        tau.append(kendalltau(x, [-k for k in r]).statistic)
        best = [p for p in ps if v[p] == max(x)]
        top.append((t["rank"][q][0] in best) / len(best))
        if len(set(x)) == len(x):
            ks += [1 + sum(z > y for z in x) for y in x]; kr += r
    add(f"rank:{q}", "self_consistency", "tau", np.nanmean(tau)); add(f"rank:{q}", "self_consistency", "top1", np.mean(top))
    add(f"rank:{q}", "self_consistency", "kappa", cohen_kappa_score(ks, kr, weights="quadratic", labels=[1, 2, 3, 4]))
    # the judge and the person, by domain, over the arms that both saw
    tau, top, ka, kb = [], [], [], []
    for t in T:
        if t["source"] != "judge" or not t["rank"][q]: continue
        h = [x for x in H if x["person"] == t["person"] and x["domain"] == t["domain"]]
        if not h or not h[0]["rank"][q]: continue
        a = [arm(t)[p] for p in t["rank"][q]]; b = [arm(h[0])[p] for p in h[0]["rank"][q]]
        both = [x for x in a if x in b]
        if len(both) < 2: continue
        a = [x for x in a if x in both]; b = [x for x in b if x in both]
        tau.append(kendalltau([a.index(x) for x in both], [b.index(x) for x in both]).statistic)
        top.append(a[0] == b[0]); ka += [a.index(x) for x in both]; kb += [b.index(x) for x in both]
    add(f"rank:{q}", "agreement", "tau", np.mean(tau), source="judge"); add(f"rank:{q}", "agreement", "top1", np.mean(top), source="judge")
    add(f"rank:{q}", "agreement", "kappa", cohen_kappa_score(ka, kb, weights="quadratic", labels=[0, 1, 2, 3]), source="judge")
    # an arm against base, AlpacaEval's form
    for a in ARMS[1:]:
        y, dl, who = [], [], []
        for t in H:
            m = arm(t)
            if not t["rank"][q] or a not in m.values() or "base" not in m.values(): continue
            pa = [p for p in m if m[p] == a][0]; pb = [p for p in m if m[p] == "base"][0]
            L = lambda p: np.mean([len(x["answers"][p]) for x in t["turns"]])
            y.append(t["rank"][q].index(pa) < t["rank"][q].index(pb)); dl.append(L(pa) - L(pb)); who.append(t["person"])
        dl = np.array(dl); X = np.c_[np.ones(len(dl)), np.tanh(dl / dl.std(ddof=1))]
        g = pd.factorize(np.array(who))[0]
        f = sm.Logit(np.array(y, float), X).fit(disp=0, tol=1e-12, cov_type="cluster", cov_kwds=dict(groups=g, use_correction=False))
        c = (g.max() + 1) / g.max()
        add(f"rank:{q}", "pair_logit_length", a, f.params[0], f.bse[0] * c ** .5)
        add(f"rank:{q}", "pair_logit_length", f"tanh_length:{a}", f.params[1], f.bse[1] * c ** .5)
with open(out + "/stats.tsv", "w") as f:
    f.write("outcome\tmodel\tterm\tsource\testimate\tstd_error\n")
    for o, m, t, s, e, se in ROWS: f.write(f"{o}\t{m}\t{t}\t{s}\t{e:.10g}\t{'NA' if np.isnan(se) else format(se, '.8g')}\n")
print(len(T), "trials,", len(ROWS), "rows")
