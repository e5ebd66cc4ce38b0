for (const b of document.querySelectorAll(".cmd button")) {
  if (!navigator.clipboard) break;
  b.hidden = false;
  b.onclick = () => navigator.clipboard.writeText(b.previousElementSibling.textContent)
    .then(() => { b.textContent = "Copied"; setTimeout(() => b.textContent = "Copy", 1500); });
}
