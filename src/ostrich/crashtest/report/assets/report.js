// The report reads without this script; with it, pictures can be compared, curves read, commands copied.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("scripted");

  // Colours: as the system, light, dark.
  var themes = ["auto", "light", "dark"];
  var button = document.querySelector(".theme");
  function setTheme(theme) {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", button.textContent + ": colours" + (theme === "auto" ? " as the system has them" : ""));
  }
  var theme = "auto";
  try { theme = localStorage.getItem("ostrich-theme") || "auto"; } catch (error) { /* a page without storage */ }
  setTheme(themes.indexOf(theme) < 0 ? "auto" : theme);
  button.addEventListener("click", function () {
    var now = root.getAttribute("data-theme") || "auto";
    var next = themes[(themes.indexOf(now) + 1) % themes.length];
    setTheme(next);
    try { localStorage.setItem("ostrich-theme", next); } catch (error) { /* lasts for this visit only */ }
  });

  // Copy a command; where that is not allowed, select it.
  document.querySelectorAll(".copy").forEach(function (copy) {
    var code = copy.parentElement.querySelector("code");
    function done() {
      copy.textContent = "Copied";
      setTimeout(function () { copy.textContent = "Copy"; }, 1600);
    }
    function select() {
      var range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (document.execCommand("copy")) done();
    }
    copy.addEventListener("click", function () {
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
      else select();
    });
  });

  // Press and hold the result: the original in its place.
  document.querySelectorAll(".hold").forEach(function (hold) {
    var original = hold.closest(".pair").querySelector(".original img");
    if (!original || !hold.querySelector("img")) return;
    var beneath = original.cloneNode();
    beneath.className += " beneath";
    beneath.alt = "";
    hold.insertBefore(beneath, hold.querySelector(".tag"));
    function show(held) { hold.setAttribute("aria-pressed", held ? "true" : "false"); }
    hold.addEventListener("pointerdown", function (event) { if (event.button === 0) show(true); });
    ["pointerup", "pointerleave", "pointercancel", "blur"].forEach(function (end) {
      hold.addEventListener(end, function () { show(false); });
    });
    hold.addEventListener("keydown", function (event) {
      if (event.key === " " || event.key === "Enter") { event.preventDefault(); show(true); }
    });
    hold.addEventListener("keyup", function () { show(false); });
    hold.addEventListener("contextmenu", function (event) {
      if (hold.getAttribute("aria-pressed") === "true") event.preventDefault();
    });
  });

  // Slider over budgets.
  document.querySelectorAll(".slider").forEach(function (slider) {
    var input = slider.querySelector("input");
    var output = slider.querySelector("output");
    var sheets = slider.querySelectorAll(".sheet");
    function turn() {
      sheets.forEach(function (sheet, i) { sheet.toggleAttribute("data-current", i === Number(input.value)); });
      var budget = sheets[input.value] ? sheets[input.value].dataset.budget : "";
      output.textContent = budget;
      input.setAttribute("aria-valuetext", budget);
    }
    input.addEventListener("input", turn);
    turn();
  });

  // Curves: the nearest column of points, read from the table below.
  document.querySelectorAll(".curve").forEach(function (curve) {
    var plot = curve.querySelector(".plot");
    var rows = curve.querySelectorAll("tbody tr");
    var outputs = curve.querySelectorAll(".legend output");
    var current = Math.floor(rows.length / 2);
    function read(stop) {
      current = stop;
      plot.querySelectorAll("svg").forEach(function (svg) {
        var cursor = svg.querySelector(".cursor");
        var x = svg.dataset.stops.split(" ")[stop];
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
        cursor.style.visibility = "visible";
        svg.querySelectorAll("circle").forEach(function (circle) {
          circle.classList.toggle("at", Math.abs(circle.cx.baseVal.value - Number(x)) < 0.1);
        });
      });
      outputs.forEach(function (output, i) {
        output.textContent = "at " + rows[stop].children[0].textContent + ": " + rows[stop].children[i + 1].textContent;
      });
    }
    function nearest(event) {
      var svg = Array.from(plot.querySelectorAll("svg")).find(function (one) { return one.getBoundingClientRect().width > 0; });
      var box = svg.getBoundingClientRect();
      var x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      var gaps = svg.dataset.stops.split(" ").map(function (stop) { return Math.abs(Number(stop) - x); });
      read(gaps.indexOf(Math.min.apply(null, gaps)));
    }
    plot.addEventListener("pointermove", nearest);
    plot.addEventListener("pointerdown", nearest);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      read(Math.max(0, Math.min(rows.length - 1, current + step)));
    });
    if (rows.length) read(current);
  });
})();
