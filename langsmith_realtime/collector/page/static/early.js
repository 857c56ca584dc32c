// Asks for the conversation at once, while the modules of the page load. `ask` in dom.js takes the answer.
{
  const slow = Number(new URLSearchParams(location.search).get("slow")) || null;
  const id = decodeURIComponent(location.pathname.split("/").pop());
  const path = `/view/api/conversations/${encodeURIComponent(id)}?${new URLSearchParams(slow ? { slow } : {})}`;
  globalThis.early = { path, answer: fetch(path, { cache: "no-store" }).catch(() => null) };
}
