import json, re, shlex
from tests.acceptance.test_cli_cookbook import *
from catalog.sql import run_reader_sql
from cli.output import plain_value
def r(v):
    v=plain_value(v)
    return float(f"{v:.3g}") if isinstance(v,float) else json.dumps(v) if isinstance(v,(list,dict)) else v
def test_look(catalog):
    L=open("/tmp/plan-work/look.txt","w")
    def print(*a): L.write(" ".join(map(str,a))+"\n"); L.flush()
    for title, body in RECIPES:
        sh=[l for b in re.findall(r"^```sh\n(.*?)^```$", body, re.M|re.S) for l in b.splitlines()]
        sq=re.findall(r"^```sql\n(.*?)^```$", body, re.M|re.S)
        print("##", title)
        for l in sh:
            w=shlex.split(l)[1:]
            if "--format" in w: i=w.index("--format"); del w[i:i+2]
            a=catalog(*w,"--format","json")
            o=json.loads(a.out) if a.out else []
            secs={"rows":o} if isinstance(o,list) else {k:v for k,v in o.items() if isinstance(v,list) and v}
            print("   SH ", l, {k:(len(v),list(v[0]) if v else None) for k,v in secs.items()} if len(secs)<2 else len(secs))
            for s in sq:
                q=run_reader_sql(s)
                name,best=max(secs.items(), key=lambda kv: len(set(kv[1][0] if kv[1] else ())&set(q.names)))
                shared=[n for n in q.names if best and n in best[0]]
                A=[tuple(r(x[n]) for n in shared) for x in best]; B=[tuple(r(v) for v in row) for row in q.select(*shared)] if shared else []
                print("       ",name,len(q),q.names,"SHARED",shared,"len",len(A),len(B),"set",set(A)==set(B),"order",A==B)
