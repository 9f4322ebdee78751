// Replaces the page by a new one. While the server does not answer, the old one stays.
async function refresh() {
  const wait = 1000 * document.body.dataset.refresh;
  try {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}, signal: AbortSignal.timeout(2 * wait)});
    if (!answer.ok) throw "answer " + answer.status;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = page.title;
    document.body.replaceWith(page.body);
  } catch (problem) {
    const lost = document.getElementById("lost");
    lost.textContent = (typeof problem == "string" ? problem : "no answer") + " since " + document.getElementById("time").textContent + ", trying again";
    lost.hidden = false;
  }
  setTimeout(refresh, wait);
}
addEventListener("DOMContentLoaded", () => setTimeout(refresh, 1000 * document.body.dataset.refresh));
