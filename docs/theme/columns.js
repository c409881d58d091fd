// The page that searches all columns: shows the rows that hold all words and have the unit.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".column-search");
  if (!form) return;
  const rows = [...document.querySelectorAll("#all-columns tbody tr")];
  const texts = rows.map((row) => `${row.innerText} ${row.dataset.about}`.toLowerCase());
  const search = () => {
    const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, n) => {
      const unit = form.unit.value;
      row.hidden = !(words.every((word) => texts[n].includes(word)) && (!unit || row.dataset.unit === unit));
    });
    const found = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").value = `${found} of ${rows.length} columns`;
  };
  for (const event of ["input", "change"]) form.addEventListener(event, search);
  form.addEventListener("submit", (event) => event.preventDefault());
  search();
});
