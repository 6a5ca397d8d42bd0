// What the theme leaves out for people who use a keyboard or a screen reader.
for (const code of document.querySelectorAll("pre, .table-wrapper, .formula")) {
  if (code.scrollWidth > code.clientWidth) code.tabIndex = 0; // so that the arrow keys scroll it
}
document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Pages");
document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
