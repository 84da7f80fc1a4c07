"""The seven categories of CIM data (CJJ/T 315-2022) by which layers are grouped for people."""

from layers.catalogue import Title

CATEGORIES = {
    "base": Title("时空基础数据", "Spatio-temporal base"),
    "survey": Title("资源调查数据", "Resource surveys"),
    "plan": Title("规划管控数据", "Planning control"),
    "project": Title("工程建设项目数据", "Construction projects"),
    "public": Title("公共专题数据", "Public topics"),
    "iot": Title("物联感知数据", "Sensing"),
    "cim_product": Title("CIM成果数据", "CIM products"),
}
"""In drawing order; a layer of any other category counts as `public`."""
