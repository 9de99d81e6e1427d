package config
import ("testing";"os";"time";"fmt";"math/rand")
// own mutation loop, to tell a hang from slow minimisation
func TestZZ(t *testing.T){
 text,_:=os.ReadFile("../deploy/chaperone.example.yaml")
 seeds:=[][]byte{text,[]byte("a: &x [*x]"),[]byte("connections: {a: {columns: {a.b.c: d}}}"),[]byte("a: |\n  b"),[]byte("? a\n: b")}
 r:=rand.New(rand.NewSource(1)); end:=time.Now().Add(40*time.Second); n:=0; worst:=time.Duration(0)
 alphabet:=[]byte("\n\t :-[]{},&*!|>'\"#%@`?a1\x00\xff\\~=<.")
 for time.Now().Before(end){
  b:=append([]byte(nil),seeds[r.Intn(len(seeds))]...)
  for k:=r.Intn(6);k>=0;k--{ i:=r.Intn(len(b)); switch r.Intn(4){case 0: b[i]=alphabet[r.Intn(len(alphabet))]; case 1: j:=min(len(b),i+r.Intn(40)); b=append(b[:i:i],b[j:]...); case 2: b=append(b[:i:i],append([]byte{alphabet[r.Intn(len(alphabet))]},b[i:]...)...); case 3: j:=min(len(b),i+r.Intn(60)); b=append(b,b[i:j]...)}; if len(b)==0 {b=[]byte("a")} }
  done:=make(chan struct{}); s:=time.Now()
  go func(){ defer close(done); cfg,err:=Parse("f",b); if (cfg==nil)==(err==nil){panic("both")} }()
  select{case <-done: if d:=time.Since(s); d>worst{worst=d; fmt.Println("worst",d,len(b))}; case <-time.After(5*time.Second): t.Fatalf("HANG %q",b)}
  n++
 }
 fmt.Println(n,"inputs; worst",worst)
}
