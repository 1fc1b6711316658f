// A pasted picture is opened as if it had been dropped on the open tab.
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!file) return;
  const panels = [...document.querySelectorAll("[role=tabpanel]")];
  const open = panels.find((panel) => panel.offsetParent !== null);
  const input = open?.querySelector(".photo-input input[type=file]");
  if (!input) return;
  event.preventDefault();
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
