import '../properties/quota-model/quota-model.spec';
