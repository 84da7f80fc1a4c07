// The OpenAPI document in Swagger UI; the plain list of operations stays where Swagger UI is missing.
"use strict";
(() => {
  const place = document.getElementById("swagger");
  if (!place || !window.SwaggerUIBundle) return;
  document.getElementById("operations").hidden = true;
  if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark-mode");
  window.citytwinApi = SwaggerUIBundle({
    domNode: place,
    url: place.dataset.api,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // it would ask a server of somebody else
    onComplete: () => { place.dataset.ready = "true"; },
  });
})();
