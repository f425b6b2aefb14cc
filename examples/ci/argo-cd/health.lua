-- Argo CD's health of an ImageTest: in the ConfigMap argocd-cm, under resource.customizations.health.pullgate.dev_ImageTest
local health = {status = "Progressing", message = "not tested yet"}
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
  if condition.type == "Ready" and condition.status == "True" then
    health = {status = "Healthy", message = condition.message}
  end
end
return health
