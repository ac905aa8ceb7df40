"""Stand-in."""
import numpy as np, torch
def items(sample, random, *, queries_per_clip):
    order = range(len(sample.queries))
    if queries_per_clip is not None and queries_per_clip < len(sample.queries):
        order = sorted(random.permutation(len(sample.queries))[:queries_per_clip].tolist())
    out=[]
    for i in order:
        q=sample.queries[i]; w=q["windows"]
        seg = sample.grid.steps(w[int(random.integers(len(w)))]) if w else np.array([np.nan,np.nan])
        out.append((sample,i,seg))
    return out
def collate(lists):
    its=[x for l in lists for x in l]
    B=len(its); T=max(len(s.features) for s,_,_ in its); L=max(len(s.texts[i]) for s,i,_ in its)
    v=torch.zeros(B,T,its[0][0].features.shape[1]); vm=torch.zeros(B,T,dtype=torch.bool)
    t=torch.zeros(B,L,its[0][0].texts[0].shape[1]); tm=torch.zeros(B,L,dtype=torch.bool)
    obj=its[0][0].objects
    b={"video":v,"video_mask":vm,"text":t,"text_mask":tm}
    if obj is not None:
        K,F=obj.shape[1:]; b["objects"]=torch.zeros(B,T,K,F); b["objects_mask"]=torch.zeros(B,T,K,dtype=torch.bool)
    for n,(s,i,_) in enumerate(its):
        k=len(s.features); v[n,:k]=torch.from_numpy(s.features); vm[n,:k]=True
        x=s.texts[i]; t[n,:len(x)]=torch.from_numpy(x); tm[n,:len(x)]=True
        if obj is not None:
            b["objects"][n,:k]=torch.from_numpy(s.objects); b["objects_mask"][n,:k]=torch.from_numpy(s.objects_mask)
    b["segments"]=torch.tensor(np.stack([g for _,_,g in its]),dtype=torch.float32)
    b["annotated"]=~b["segments"].isnan().any(1); b["steps"]=torch.tensor([len(s.features) for s,_,_ in its])
    b["videos"]=[s.video for s,_,_ in its]; b["queries"]=[s.queries[i]["query"] for s,i,_ in its]; b["grids"]=[s.grid for s,_,_ in its]
    return b
