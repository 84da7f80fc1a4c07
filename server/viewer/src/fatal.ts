// The message that takes the place of the city when nothing can be drawn.
import { h } from "./dom";
import type { Texts, Word } from "./language";

export function showFatal(texts: Texts, problem: Word, hint: Word | undefined, detail = ""): void {
  document.querySelector(".fatal")?.remove();
  const title = h("h1");
  const next = h("p");
  const retry = h("button", { type: "button", className: "primary" });
  retry.addEventListener("click", () => location.reload());
  const box = h("div", { className: "fatal", attrs: { role: "alert" } }, title, next);
  if (detail) box.append(h("pre", { textContent: detail }));
  box.append(retry);
  texts.bind(() => {
    title.textContent = texts.word(problem);
    next.textContent = hint ? texts.word(hint) : "";
    retry.textContent = texts.word("retry");
  });
  const app = document.getElementById("app") ?? document.body;
  app.append(box);
  app.setAttribute("aria-busy", "false");
}
