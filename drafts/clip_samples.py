"""Stand-in."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np, pandas as pd, torch
from pathlib import Path
from lib.data.time_grid import TimeGrid
@dataclass(frozen=True)
class ClipSample:
    key: str; video: str; split: str; grid: TimeGrid; queries: list; features: np.ndarray; texts: list
    objects: np.ndarray | None = None; objects_mask: np.ndarray | None = None
class ClipReader:
    def __init__(self, manifest):
        import pickle
        self.samples = pickle.load(open(str(manifest), "rb"))
        rows=[(s.key,s.video,s.split,len(s.features),len(s.queries)) for s in self.samples]
        self.index=pd.DataFrame(rows,columns=["key","video","split","steps","queries"])
        f=self.samples[0]
        self.widths={"video":f.features.shape[1],"text":f.texts[0].shape[1],"objects":None if f.objects is None else f.objects.shape[1:]}
        self._p={s.key:i for i,s in enumerate(self.samples)}
    def rows(self,keys): return np.array([self._p[k] for k in keys],dtype=np.int64)
    def read_row(self,r): return self.samples[r]
    def iterate(self,keys): return (self.samples[r] for r in self.rows(keys))
