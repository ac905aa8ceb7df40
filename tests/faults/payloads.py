"""Texts that do something where they are not taken as text: in a shell, in Snakemake's formats, in HTML, CSV and Markdown."""

from __future__ import annotations

CANARY = "CANARY"
"""File that every payload for a shell tries to make."""

SHELL = [
    f"$(touch {CANARY})", f"`touch {CANARY}`", f"; touch {CANARY};", f"& touch {CANARY} &", f"| touch {CANARY}", f"|| touch {CANARY}",
    f"&& touch {CANARY}", f"\n touch {CANARY}\n", f"'; touch {CANARY}; '", f'"; touch {CANARY}; "', f"'\"; touch {CANARY}; \"'",
    f"\\'; touch {CANARY}; #", f"$'\\n'touch {CANARY}", f"> {CANARY}", f"2> {CANARY}", f"<(touch {CANARY})", f">({CANARY})",
    f"${{IFS}}touch${{IFS}}{CANARY}", f"$[$(touch {CANARY})]", f"$((a[$(touch {CANARY})]))", "*", "~root", "!!", "-rf", "--output=x",
    f"{{touch,{CANARY}}}", "{input}", "{wildcards.dataset}", f"{{__import__('os').system('touch {CANARY}')}}",
    f"{{params.settings.__class__}} $(touch {CANARY})", "%s%n", f"\u201c$(touch {CANARY})\u201d", f"a\rtouch {CANARY}", "a\tb", "\u202etxt",
]  # fmt: skip

HTML = [
    "<script>document.body.id='live'</script>", "<img src=x onerror=\"document.body.id='live'\">", "<svg onload=document.body.id='live'>",
    "\"><script>document.body.id='live'</script>", "'><img src=x onerror=document.body.id='live'>", "<iframe srcdoc='<script>1</script>'>",
    "</title><script>document.body.id='live'</script>", "</style><script>document.body.id='live'</script>", "<a href='javascript:1'>x</a>",
    "</script><script>document.body.id='live'</script>", "<!--<script>document.body.id='live'</script>-->", "&lt;script&gt;1&lt;/script&gt;",
    "<base href='http://127.0.0.1:9/'>", "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>", "<link rel=stylesheet href=//127.0.0.1:9>",
    "<form action=//127.0.0.1:9><input autofocus onfocus=document.body.id='live'>", "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "${7*7}",
    "\u2028<script>document.body.id='live'</script>", "<math><mi xlink:href='javascript:1'>", "<ScRiPt>document.body.id='live'</ScRiPt>",
]  # fmt: skip

CSV = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "=cmd|' /C calc'!A0", "\t=1+1", "\r=1+1", '=HYPERLINK("http://127.0.0.1:9","x")', "=1,2\n=3", '"=1+1']
