// Follows the conversation at once, while the modules of the page load. `Stream` in stream.js takes the source over.
{
  const slow = Number(new URLSearchParams(location.search).get("slow")) || null;
  const id = decodeURIComponent(location.pathname.split("/").pop());
  const path = `/view/api/conversations/${encodeURIComponent(id)}/changes${slow ? `?slow=${slow}` : ""}`;
  const early = (globalThis.early = { path, source: new EventSource(path), messages: [] });
  early.source.onopen = () => { early.messages = []; };
  early.source.onmessage = (message) => early.messages.push(message);
}
